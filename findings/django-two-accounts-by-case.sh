#!/usr/bin/env bash
# What surprised: both SCIM packages for Django create `ANN@example.com` beside `ann@example.com`, and both then answer a search
#   for either name with both: written with regard to case, searched without. RFC 7643 says that userName minds no case.
# Source: django-scim2 0.23.0 and django-scim2-server 1.1.0 (PyPI), on SQLite.
# For whoever connects it: Okta looks for an account by userName before it creates one, and expects one answer at most. Where a
#   search finds two, the case decides which one is meant.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install -q --no-compile --disable-pip-version-check 'django-scim2==0.23.0' 'django-scim2-server==1.1.0' 'django==5.2.19'
mkdir one two
cd one
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
cd ../two
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
cd ..
cat >ask.py <<'EOF'
from service import create, find

statuses = [create(name).status_code for name in ("ann@example.com", "ANN@example.com")]
print("created:", statuses)
names = {name: find(f'userName eq "{name}"') for name in ("ann@example.com", "ANN@example.com")}
assert statuses == [201, 201], "the second one is refused now"
assert all(found == ["ann@example.com", "ANN@example.com"] for found in names.values()), "one is found now"
EOF
for package in one two; do
  venv/bin/pip list --disable-pip-version-check 2>/dev/null | grep -i "^django-scim2$(test $package = one && echo ' ' || echo -server)"
  (cd $package && PYTHONPATH=. ../venv/bin/python ../ask.py)
done
