#!/usr/bin/env bash
# What surprised: an account is created with 201 and no Location header, though RFC 7644, 3.3 requires it; SCIMMY's
#   meta.location is a path without a host, unless it was told its base, and meta has no times.
# Source: scimmy 1.3.5 with scimmy-routers 1.3.2 (npm, Express 4.22.3) and django-scim2-server 1.1.0 (PyPI).
# For whoever connects it: take the id from the body, never from Location, and resolve meta.location against the base URL.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install -q --no-compile --disable-pip-version-check 'django-scim2-server==1.1.0' 'django==5.2.19' 'scim2-models==0.12.3'
npm install --silent --no-audit --no-fund 'scimmy@1.3.5' 'scimmy-routers@1.3.2' 'express@4.22.3'
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
cat >server.mjs <<'EOF'
import assert from 'node:assert';
import express from 'express';
import SCIMMY from 'scimmy';
import SCIMMYRouters from 'scimmy-routers';

const people = new Map();
SCIMMY.Resources.declare(SCIMMY.Resources.User, {
  egress: ({ id, filter }) => (id ? people.get(id) : filter ? filter.match([...people.values()]) : [...people.values()]),
  ingress: ({ id = String(people.size + 1) }, data) => people.set(id, { ...data, id }).get(id),
  degress: ({ id }) => people.delete(id),
});
const server = express().use('/scim', new SCIMMYRouters({ type: 'bearer', handler: () => 'okta' })).listen(0, '127.0.0.1');
await new Promise((ready) => server.once('listening', ready));
const call = async (method, path, body, headers = {}) => {
  const response = await fetch(`http://127.0.0.1:${server.address().port}/scim${path}`, {
    method,
    body: body && JSON.stringify(body),
    headers: { Authorization: 'Bearer t', 'Content-Type': 'application/scim+json', ...headers },
  });
  const text = await response.text();
  return { status: response.status, headers: response.headers, body: text ? JSON.parse(text) : null };
};
const CORE = 'urn:ietf:params:scim:schemas:core:2.0:User';
const created = await call('POST', '/Users', { schemas: [CORE], userName: 'ann@example.com' });
console.log('scimmy-routers 1.3.2:', created.status, 'Location', created.headers.get('location'), JSON.stringify(created.body.meta));
assert.strictEqual(created.status, 201);
assert.strictEqual(created.headers.get('location'), null, 'it sends Location now');
assert.deepStrictEqual(created.body.meta, { resourceType: 'User', location: '/scim/Users/1' });
server.close();
server.closeAllConnections();
EOF
node server.mjs

venv/bin/python - <<'EOF'
from importlib.metadata import version

from service import create

created = create("ann@example.com")
location = created.headers.get("Location")
print("django-scim2-server", version("django-scim2-server"), created.status_code, "Location", location, created.json()["meta"])
assert created.status_code == 201 and created.json()["meta"]["location"].startswith("http")
assert location is None, "it sends Location now"
EOF
