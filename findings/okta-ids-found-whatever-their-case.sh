#!/usr/bin/env bash
# What surprised: a search for one externalId finds two people whose Okta ids differ in case only. django-scim2-server compares
#   all text without regard to case; scim-query-filter-parser does so for `eq`, while its `co` minds the case, so that `eq`
#   finds what `co` with the same text doesn't.
# Source: django-scim2-server 1.1.0 (PyPI), scim-query-filter-parser 2.0.4 (npm). RFC 7643, 3.1: externalId is caseExact, as
#   Okta's ids are.
# For whoever connects it: compare the externalId of whoever comes back, letter by letter, before it is linked; more than one
#   answer is no proof of a duplicate.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install -q --no-compile --disable-pip-version-check 'django-scim2-server==1.1.0' 'django==5.2.19' 'scim2-models==0.12.3'
npm install --silent --no-audit --no-fund 'scim-query-filter-parser@2.0.4'
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

from service import create, find

create("ann@example.com", externalId="00uAbC1")
create("bob@example.com", externalId="00uaBc1")
print("django-scim2-server", version("django-scim2-server"))
assert find('externalId eq "00uAbC1"') == ["ann@example.com", "bob@example.com"], "the case counts now"
EOF
node - <<'EOF'
const assert = require('assert');
const { compileFilter } = require('scim-query-filter-parser');
const people = [{ externalId: '00uAbC1' }, { externalId: '00uaBc1' }];
const find = (text) => {
  const found = people.filter(compileFilter(text)).map((user) => user.externalId);
  console.log(text.padEnd(40), '->', found.join(' ') || 'nobody');
  return found.length;
};
console.log('scim-query-filter-parser 2.0.4');
assert.strictEqual(find('externalId eq "00uAbC1"'), 2, 'eq minds the case now');
assert.strictEqual(find('externalId co "00uAbC1"'), 1);
assert.strictEqual(find('externalId eq "00UABC1"'), 2);
assert.strictEqual(find('externalId co "00UABC1"'), 0);
EOF
