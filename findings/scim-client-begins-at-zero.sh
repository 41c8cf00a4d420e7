#!/usr/bin/env bash
# What surprised: scim-client searches from startIndex 0 unless it is told otherwise. RFC 7644, 3.4.2.4 has a service read that
#   as 1; both SCIM packages for Django answer 400, so that no search of this client works there until start_index=1 is given.
# Source: scim_client 0.2.3 against django-scim2 0.23.0 and django-scim2-server 1.1.0 (PyPI).
# For whoever connects it: a service that Okta never asked for page 0 may refuse other clients. Send startIndex=1 in full, and
#   read 0 as 1 where you serve.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install -q --no-compile --disable-pip-version-check 'scim_client==0.2.3' 'django-scim2==0.23.0' 'django-scim2-server==1.1.0' 'django==5.2.19'
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
import threading
from urllib.error import HTTPError
from wsgiref.simple_server import WSGIRequestHandler, make_server

from django.core.wsgi import get_wsgi_application
from scim_client import SCIMClient
from service import create

seen = []


class Handler(WSGIRequestHandler):
    def log_message(self, format, *args):
        seen.append(" ".join(str(args[n]) for n in (0, 1)))


def ask():
    client = SCIMClient(f"http://127.0.0.1:{server.server_port}/scim/v2", "t", max_retries=1)
    for more in ({}, {"start_index": 1}):
        try:
            client.search_users('userName eq "ann@example.com"', **more)
        except HTTPError as exc:
            print("search", more, "->", exc)
        except TypeError:
            pass  # it doesn't read every account that it is given, which is another matter


create("ann@example.com")
server = make_server("127.0.0.1", 0, get_wsgi_application(), handler_class=Handler)
client = threading.Thread(target=ask)
client.start()
while client.is_alive():
    server.timeout = 0.2
    server.handle_request()
server.server_close()
print(*seen, sep="\n")
assert [line.split()[-1] for line in seen] == ["400", "200"], "both begin at the same number now"
assert "startIndex=0" in seen[0] and "startIndex=1" in seen[1]
EOF
for package in one two; do
  venv/bin/pip list --disable-pip-version-check 2>/dev/null | grep -i "^django-scim2$(test $package = one && echo ' ' || echo -server)"
  (cd $package && PYTHONPATH=. ../venv/bin/python ../ask.py)
done
