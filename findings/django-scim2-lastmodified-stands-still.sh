#!/usr/bin/env bash
# What surprised: meta.lastModified is the day of the account's creation, for ever: a PATCH and a PUT that change the account
#   leave it as it is.
# Source: django-scim2 0.23.0 (PyPI), its own user adapter; there is no ETag either.
# For whoever connects it: `lastModified is as before, so nobody changed it` is wrong here. Compare the accounts themselves.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install -q --no-compile --disable-pip-version-check 'django-scim2==0.23.0' 'django==5.2.19'
mkdir people
cat >people/models.py <<'EOF'
from django.contrib.auth.models import AbstractUser
from django.db import models
from django_scim.models import AbstractSCIMGroupMixin, AbstractSCIMUserMixin


class Group(AbstractSCIMGroupMixin):
    name = models.CharField(max_length=80, unique=True)


class User(AbstractSCIMUserMixin, AbstractUser):
    scim_groups = models.ManyToManyField(Group, related_name="user_set")
EOF
cat >service.py <<'EOF'
import django
from django.conf import settings
from django.core.management import call_command
from django.test import Client
from django.urls import include, path

settings.configure(
    ALLOWED_HOSTS=["*"],
    AUTH_USER_MODEL="people.User",
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}},
    INSTALLED_APPS=["django.contrib.auth", "django.contrib.contenttypes", "people", "django_scim"],
    MIDDLEWARE=["service.signed_in"],
    ROOT_URLCONF="service",
    SCIM_SERVICE_PROVIDER={
        "NETLOC": "localhost",
        "AUTHENTICATION_SCHEMES": [{"type": "oauthbearertoken", "name": "token", "description": "a token"}],
        "GET_IS_AUTHENTICATED_PREDICATE": "service.anybody",
    },
    SECRET_KEY="not secret",
    USE_TZ=True,
)
urlpatterns = [path("scim/v2/", include("django_scim.urls", namespace="scim"))]
CORE = "urn:ietf:params:scim:schemas:core:2.0:User"
PATCH = "urn:ietf:params:scim:api:messages:2.0:PatchOp"
TYPE = "application/scim+json"


def signed_in(respond):
    def middleware(request):
        request.user = None
        return respond(request)

    return middleware


def anybody(user):
    return True


django.setup()
call_command("migrate", run_syncdb=True, verbosity=0)
http = Client(raise_request_exception=False)


def find(text):
    answer = http.get("/scim/v2/Users", {"filter": text})
    names = [user["userName"] for user in answer.json().get("Resources", [])]
    print(text.ljust(66), "->", answer.status_code, *names)
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

print("django-scim2", version("django-scim2"))
from django.contrib.auth import get_user_model

location = create("ann@example.com").json()["meta"]["location"]
get_user_model().objects.update(date_joined="2026-01-01T00:00:00Z")
changed = patch(location, op="replace", path="name.familyName", value="Changed").json()
replaced = http.put(location, changed | {"userName": "new@example.com"}, content_type=TYPE).json()
for step, account in {"PATCH": changed, "PUT": replaced}.items():
    print(step, account["userName"], account["name"]["familyName"], account["meta"])
assert changed["name"]["familyName"] == "Changed" and replaced["userName"] == "new@example.com"
for account in (changed, replaced):
    assert account["meta"]["lastModified"] == account["meta"]["created"] == "2026-01-01T00:00:00+00:00", "it moves now"
EOF
