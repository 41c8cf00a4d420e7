#!/usr/bin/env bash
# What surprised: the same attribute is refused in one place and dropped in another: an account with the enterprise extension is
#   400 by POST, while a PATCH of department, of title, or of a home address is 200, keeps nothing, and moves meta.lastModified
#   on.
# Source: django-scim2-server 1.1.0 (PyPI), its own user adapter.
# For whoever connects it: a 200 and a newer lastModified don't say that anything was stored. Compare what comes back; leave the
#   extension out of what is created (its /Schemas rightly doesn't list it).
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
ENTERPRISE = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User"
account = create("ann@example.com").json()
place = account["meta"]["location"]
refused = create("bob@example.com", schemas=[CORE, ENTERPRISE], **{ENTERPRISE: {"department": "IT"}})
print("POST with the enterprise extension:", refused.status_code)
assert refused.status_code == 400, "the extension is taken now"
for path, value in ((f"{ENTERPRISE}:department", "IT"), ("title", "Boss"), ('emails[type eq "home"].value', "a@home.example")):
    answer = patch(place, op="replace", path=path, value=value)
    after = answer.json()
    moved = after["meta"].pop("lastModified") > account["meta"]["lastModified"]
    same = after == account | {"meta": after["meta"]}
    print("PATCH", path, "->", answer.status_code, "- anything changed:", not same, "- lastModified moved:", moved)
    assert answer.status_code == 200 and same and moved, "it keeps or refuses it now"
EOF
