#!/usr/bin/env bash
# What surprised: the first example of a replacement in RFC 7644 section 3.5.2.3, a path and a plain value, is a 500 for every
#   attribute, `active` too. The same change is a 200 without a path, or with a path and an object. A filter by externalId, which
#   each account has, is a 500 as well, while ServiceProviderConfig says `filter: supported`.
# Source: mitol-django-scim 2026.10.9 (PyPI) with django-scim2 0.23.0, with the settings that it brings.
# For whoever connects it: Okta's own deactivation has no path and works; what names a path doesn't, and is answered so each time:
#   write the whole account instead. Find people by userName.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install -q --no-compile --disable-pip-version-check \
  'mitol-django-scim==2026.10.9' 'django-scim2==0.23.0' 'django==5.2.19'
mkdir people
cat >people/models.py <<'EOF'
from django.contrib.auth.models import AbstractUser
from django.db import models
from django_scim.models import AbstractSCIMGroupMixin, AbstractSCIMUserMixin


class Group(AbstractSCIMGroupMixin):
    name = models.CharField(max_length=80, unique=True)


class User(AbstractSCIMUserMixin, AbstractUser):
    scim_groups = models.ManyToManyField(Group, related_name="user_set")
    global_id = models.CharField(max_length=200, null=True, unique=True)
    created_on = models.DateTimeField(auto_now_add=True)
    updated_on = models.DateTimeField(auto_now=True)
EOF
cat >service.py <<'EOF'
import logging

import django
import mitol.scim.settings.scim as mitol
from django.conf import settings
from django.core.management import call_command
from django.test import Client

logging.disable(logging.CRITICAL)
settings.configure(
    ALLOWED_HOSTS=["*"],
    AUTH_USER_MODEL="people.User",
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}},
    DEFAULT_AUTO_FIELD="django.db.models.AutoField",
    INSTALLED_APPS=["django.contrib.auth", "django.contrib.contenttypes", "people", "django_scim", "mitol.scim"],
    MIDDLEWARE=["service.signed_in"],
    ROOT_URLCONF="mitol.scim.urls",
    SCIM_SERVICE_PROVIDER=mitol.SCIM_SERVICE_PROVIDER,
    SECRET_KEY="not secret",
    USE_TZ=True,
)


class Anybody:
    is_authenticated = is_active = is_staff = is_superuser = True
    is_anonymous = False


def signed_in(respond):
    def middleware(request):
        request.user = Anybody()
        return respond(request)

    return middleware


django.setup()
call_command("migrate", run_syncdb=True, verbosity=0)
http = Client(raise_request_exception=False)
EOF

venv/bin/python - <<'EOF'
from importlib.metadata import version

from service import http

CORE = "urn:ietf:params:scim:schemas:core:2.0:User"
PATCH = "urn:ietf:params:scim:api:messages:2.0:PatchOp"
TYPE = "application/scim+json"
print("mitol-django-scim", version("mitol-django-scim"))
account = {"schemas": [CORE], "userName": "ann@example.com", "externalId": "00u1", "active": True}
account |= {"name": {"givenName": "Ann", "familyName": "Lee"}, "emails": [{"value": "ann@example.com", "primary": True}]}
made = http.post("/scim/v2/Users", account, content_type=TYPE).json()
place = f"/scim/v2/Users/{made['id']}"
told = {}
for name, operation in {
    "active, by a path": {"op": "replace", "path": "active", "value": False},
    "a part of the name, by a path": {"op": "replace", "path": "name.familyName", "value": "Doe"},
    "the name, by a path": {"op": "replace", "path": "name", "value": {"familyName": "Doe"}},
    "active, without a path": {"op": "replace", "value": {"active": False}},
}.items():
    answer = http.patch(place, {"schemas": [PATCH], "Operations": [operation]}, content_type=TYPE)
    told[name] = answer.status_code
    print("PATCH", name.ljust(30), "->", answer.status_code)
for name, text in {"userName": "ann@example.com", "externalId": "00u1"}.items():
    answer = http.get("/scim/v2/Users", {"filter": f'{name} eq "{text}"'})
    told[name] = answer.status_code
    print("filter by", name.ljust(26), "->", answer.status_code)
config = http.get("/scim/v2/ServiceProviderConfig").json()
print("announced: patch", config["patch"]["supported"], "filter", config["filter"]["supported"])
assert list(told.values()) == [500, 500, 200, 200, 200, 500], "it answers otherwise now"
assert config["patch"]["supported"] and config["filter"]["supported"]
EOF
