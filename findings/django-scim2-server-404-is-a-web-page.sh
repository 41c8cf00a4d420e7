#!/usr/bin/env bash
# What surprised: an id that isn't a UUID is answered with a web page instead of a SCIM error, and Okta's own test suite asks
#   for just such an id (`GET /Users/010101001010101011001010101011`, expected: 404 with `detail` and the Error schema). The
#   same for /ResourceTypes/User and /Schemas/..., which its own lists point to.
# Source: django-scim2-server 1.1.0 (PyPI); Okta's SCIM 2.0 SPEC test.
# For whoever connects it: take any 404 for a read by id as `not there` only if it comes as SCIM; a web page may as well mean a
#   wrong base URL.
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
create("ann@example.com")
pages = {}
for place in (
    "Users/00000000-0000-0000-0000-000000000000",
    "Users/010101001010101011001010101011",
    "ResourceTypes/User",
    f"Schemas/{CORE}",
):
    answer = http.get(f"/scim/v2/{place}")
    pages[place] = answer.headers["Content-Type"]
    print(place.ljust(60), "->", answer.status_code, pages[place])
    assert answer.status_code == 404, "it is served now"
types = [kind["id"] for kind in http.get("/scim/v2/ResourceTypes").json()["Resources"]]
print("resource types listed:", types)
assert "User" in types
assert [kind.split(";")[0] for kind in pages.values()] == ["application/scim+json"] + ["text/html"] * 3, "they are SCIM errors now"
EOF
