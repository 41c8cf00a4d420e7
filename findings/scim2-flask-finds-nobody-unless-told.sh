#!/usr/bin/env bash
# What surprised: a service made as the README shows answers each filter with a 501, so that Okta's first question, whether
#   somebody has the userName, fails and nobody is ever assigned. The command `scim2-server`, of the same makers and with the same
#   storage, filters without being told to.
# Source: scim2-flask 0.1.1 with scim2-server 0.8.3 and scim2-models 0.12.3 (PyPI).
# For whoever connects it: give ScimProvider a `config` that says `filter`, and look into /ServiceProviderConfig before the
#   service is connected: it tells the truth there.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install -q --no-compile --disable-pip-version-check \
  'scim2-flask==0.1.1' 'scim2-server==0.8.3' 'scim2-models==0.12.3'

venv/bin/python - <<'EOF'
from importlib.metadata import version

from flask import Flask
from scim2_flask import ScimServer
from scim2_models import Filter, Patch, ScimProvider, ServiceProviderConfig, User
from scim2_server.memory import InMemoryStorage

CORE = "urn:ietf:params:scim:schemas:core:2.0:User"


def tried(provider):
    app = Flask(__name__)
    ScimServer(InMemoryStorage(), provider, app=app)
    http = app.test_client()
    body = {"schemas": [CORE], "userName": "ann@example.com"}
    made = http.post("/scim/v2/Users", json=body, content_type="application/scim+json")
    found = http.get("/scim/v2/Users", query_string={"filter": 'userName eq "ann@example.com"'})
    announced = http.get("/scim/v2/ServiceProviderConfig").get_json()["filter"]["supported"]
    return made.status_code, announced, found.status_code


print("scim2-flask", version("scim2-flask"))
config = ServiceProviderConfig(filter=Filter(supported=True, max_results=200), patch=Patch(supported=True))
plain = tried(ScimProvider(models=[User]))
told = tried(ScimProvider(models=[User], config=config))
print("as the README shows: POST", plain[0], "- filters announced:", plain[1], "- a filter by userName:", plain[2])
print("with a config:       POST", told[0], "- filters announced:", told[1], "- a filter by userName:", told[2])
assert plain == (201, False, 501), "it filters now"
assert told == (201, True, 200)
EOF
