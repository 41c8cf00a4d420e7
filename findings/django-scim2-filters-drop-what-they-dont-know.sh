#!/usr/bin/env bash
# What surprised: an account shows its externalId, and a filter by it answers 200 with nobody; put beside another term with
#   `and`, it is dropped, and the answer is everybody whom the other term finds. So it is with every attribute but userName, the
#   two names and active (and on SQLite `active eq true` finds nobody either, though all are active).
# Source: django-scim2 0.23.0 (PyPI) with the user model that its documentation describes.
# For whoever connects it: `nobody has this externalId` is no reason to create, and whoever comes back need not be whom you
#   asked for. Compare what comes back with the filter.
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
create("ann@example.com", externalId="00u1")
create("bob@example.com", externalId="00u2")
shown = http.get("/scim/v2/Users").json()["Resources"]
print("externalIds shown:", [user["externalId"] for user in shown])
assert [user["externalId"] for user in shown] == ["00u1", "00u2"]
assert find('userName eq "ann@example.com"') == ["ann@example.com"]
assert find('externalId eq "00u1"') == [], "externalId is searched now"
assert find("active eq true") == [] and all(user["active"] for user in shown), "active is searched now"
both = find('name.familyName eq "Example" and externalId eq "00u1"')
assert both == ["ann@example.com", "bob@example.com"], "the term counts now"
EOF
