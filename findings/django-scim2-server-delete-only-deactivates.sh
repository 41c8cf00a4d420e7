#!/usr/bin/env bash
# What surprised: a DELETE answers 204, and the account is read afterwards with 200, inactive, and stays in every list. RFC
#   7644, 3.6 asks for 404 from then on.
# Source: django-scim2-server 1.1.0 (PyPI), its own user adapter.
# For whoever connects it: a name that was deleted is taken: a new account of that userName is 409. To whoever counts accounts
#   the deleted ones are still there; look at `active`.
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
place = create("ann@example.com", externalId="00u1").json()["meta"]["location"]
deleted = http.delete(place).status_code
read = http.get(place)
again = create("ann@example.com", externalId="00u2").status_code
total = http.get("/scim/v2/Users").json()["totalResults"]
print("DELETE:", deleted, "- GET:", read.status_code, "active", read.json()["active"], "- listed:", total, "- created again:", again)
assert (deleted, read.status_code, read.json()["active"], total) == (204, 200, False, 1), "it is gone now"
assert again == 409
EOF
