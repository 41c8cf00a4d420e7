#!/usr/bin/env bash
# What surprised: its ServiceProviderConfig says that it has no filters and that it has PATCH. The filter by userName works; of
#   PATCH it has `replace` for users, while `add` and `remove` are 501. /Schemas lists title, locale and phone numbers, and an
#   account created with them (201) has none of them.
# Source: django-scim2 0.23.0 (PyPI), its own user adapter.
# For whoever connects it: what a service announces is a hint. Try the filter before everybody is listed to find one; after a
#   501 write the whole account; and compare what came back with what was sent, or the next look finds the same difference
#   again.
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
config = http.get("/scim/v2/ServiceProviderConfig").json()
announced = {a["name"] for s in http.get("/scim/v2/Schemas").json()["Resources"] if s["id"] == CORE for a in s["attributes"]}
account = create("ann@example.com", title="Boss", locale="en-US", phoneNumbers=[{"value": "+1", "type": "work"}]).json()
location = account["meta"]["location"]
statuses = {
    op: patch(location, op=op, path="name.givenName", **({} if op == "remove" else {"value": "Anna"})).status_code
    for op in ("replace", "add", "remove")
}
sent = {"title", "locale", "phoneNumbers"}
print("announced: filter", config["filter"]["supported"], "patch", config["patch"]["supported"], "attributes", sorted(sent & announced))
print("PATCH:", statuses, "- attributes kept:", sorted(sent & account.keys()))
assert config["filter"]["supported"] is False and find('userName eq "ann@example.com"') == ["ann@example.com"]
assert config["patch"]["supported"] is True and statuses == {"replace": 200, "add": 501, "remove": 501}, "PATCH is whole now"
assert sent <= announced and not sent & account.keys(), "they are kept now"
EOF
