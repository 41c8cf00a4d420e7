#!/usr/bin/env bash
# What surprised: of several addresses the first one is kept, not the primary one, and is shown as primary afterwards. Adding a
#   private address by PATCH replaces the work address.
# Source: django-scim2-server 1.1.0 (PyPI), its own user adapter.
# For whoever connects it: send one address, the primary one, or put it first. The address of the account is where its mail
#   goes.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install -q --no-compile --disable-pip-version-check 'django-scim2-server==1.1.0' 'django==5.2.19' 'scim2-models==0.12.3'
cat >service.py <<'EOF'
import django
from django.conf import settings
from django.core.management import call_command
from django.test import Client
from django.urls import include, path

settings.configure(
    ALLOWED_HOSTS=["*"],
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}},
    DEFAULT_AUTO_FIELD="django.db.models.AutoField",
    INSTALLED_APPS=["django.contrib.auth", "django.contrib.contenttypes", "django_scim2_server"],
    ROOT_URLCONF="service",
    SCIM2_SERVER_AUTH_CHECK="service.anybody",
    SECRET_KEY="not secret",
    USE_TZ=True,
)
urlpatterns = [path("scim/v2/", include("django_scim2_server.urls"))]
CORE = "urn:ietf:params:scim:schemas:core:2.0:User"
PATCH = "urn:ietf:params:scim:api:messages:2.0:PatchOp"
TYPE = "application/scim+json"


def anybody(request):
    return True


django.setup()
call_command("migrate", run_syncdb=True, verbosity=0)
http = Client(raise_request_exception=False)


def find(text):
    answer = http.get("/scim/v2/Users", {"filter": text})
    names = [user["userName"] for user in answer.json().get("Resources", [])]
    print(text.ljust(40), "->", answer.status_code, *names)
    return names


def create(name, **more):
    body = {"schemas": [CORE], "userName": name, "name": {"givenName": "Ann", "familyName": "Example"}, "active": True}
    emails = [{"value": name, "type": "work", "primary": True}]
    return http.post("/scim/v2/Users", body | {"emails": emails} | more, content_type=TYPE)


def patch(location, **operation):
    body = {"schemas": [PATCH], "Operations": [operation]}
    return http.patch(location, body, content_type=TYPE)
EOF

venv/bin/python - <<'EOF'
from importlib.metadata import version

from service import CORE, PATCH, TYPE, create, find, http, patch

print("django-scim2-server", version("django-scim2-server"))
emails = [{"value": "ann@home.example", "type": "home"}, {"value": "ann@example.com", "type": "work", "primary": True}]
account = create("ann@example.com", emails=emails).json()
print("sent:", emails)
print("kept:", account["emails"])
assert account["emails"] == [{"value": "ann@home.example", "primary": True}], "the primary one is kept now"
bob = create("bob@example.com").json()
added = patch(bob["meta"]["location"], op="add", path="emails", value=[{"value": "bob@home.example", "type": "home"}]).json()
print("bob had", bob["emails"], "- one was added:", added["emails"])
assert added["emails"] == [{"value": "bob@home.example", "primary": True}], "both are kept now"
EOF
