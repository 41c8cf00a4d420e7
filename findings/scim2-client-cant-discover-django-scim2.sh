#!/usr/bin/env bash
# What surprised: a client that reads what a service offers before its first call gets no further here: the answers of
#   /ResourceTypes and /Schemas lack totalResults, which RFC 7644, 3.4.2 requires of every list, and scim2-client refuses them.
#   The accounts themselves are listed with it.
# Source: django-scim2 0.23.0 beside scim2-client 0.13.2 (PyPI), called in one process.
# For whoever connects it: give such a client the resource types by hand, or read discovery documents leniently: a service that
#   can't describe itself may serve its accounts well.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install -q --no-compile --disable-pip-version-check 'django-scim2==0.23.0' 'django==5.2.19' 'scim2-client==0.13.2' 'scim2-models==0.12.3'
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
from django.core.wsgi import get_wsgi_application
from scim2_client import SCIMClientException
from scim2_client.engines.wsgi import WSGISCIMClient

listed = {place: http.get(f"/scim/v2/{place}").json() for place in ("ResourceTypes", "Schemas", "Users")}
print({place: sorted(answer) for place, answer in listed.items()})
assert "totalResults" in listed["Users"]
assert not any("totalResults" in listed[place] for place in ("ResourceTypes", "Schemas")), "totalResults is there now"
client = WSGISCIMClient(get_wsgi_application(), base_url="http://localhost/scim/v2")
try:
    client.discover()
except SCIMClientException as exc:
    print("scim2-client", version("scim2-client"), "-", " ".join(str(exc).split()))
else:
    raise SystemExit("it can be discovered now")
EOF
