#!/usr/bin/env bash
# What surprised: canaille requires name.formatted, and its e-mails have neither `type` nor `primary`: the account that Okta
#   creates by default (given and family name, one e-mail marked as primary and work) is 400 for each of these. Its /Schemas
#   says so, unlike that of RFC 7643.
# Source: canaille 0.3.6 with the extras scim, oidc and front (PyPI), in memory; the body is that of Okta's SCIM 2.0 guide.
# For whoever connects it: where a service publishes its schemas, look there for required attributes and for which parts an
#   e-mail has, before anybody is assigned. For this one Okta needs a mapping to name.formatted, and an e-mail without type and
#   primary.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install -q --no-compile --disable-pip-version-check 'canaille[scim,oidc,front]==0.3.6' 'scim2-models==0.12.3'

venv/bin/python - <<'EOF'
import datetime
import logging
from importlib.metadata import version

from canaille import create_app
from canaille.app import models
from canaille.backends import Backend

logging.disable(logging.WARNING)
CORE = "urn:ietf:params:scim:schemas:core:2.0:User"
config = {"SECRET_KEY": "not secret" * 4, "SERVER_NAME": "localhost", "CANAILLE": {"DATABASE": "memory"}}
app = create_app(config | {"CANAILLE_OIDC": {}, "CANAILLE_SCIM": {"ENABLE_SERVER": True}})
with app.app_context():
    now = datetime.datetime.now(datetime.UTC)
    okta = models.Client(client_id="okta", client_name="okta", client_secret="s")
    Backend.instance.save(okta)
    token = models.Token(token_id="t", access_token="t", client=okta, scope=[], audience=[okta], issue_date=now, lifetime=600)
    Backend.instance.save(token)
http = app.test_client()
headers = {"Authorization": "Bearer t"}
name = {"givenName": "Test", "familyName": "User"}
work = {"primary": True, "value": "test.user@example.com", "type": "work"}
account = {"schemas": [CORE], "userName": "test.user@example.com", "name": name, "emails": [work], "active": True}
steps = {
    "as Okta sends it": account,
    "with name.formatted": account | {"name": name | {"formatted": "Test User"}},
    "without primary": account | {"name": name | {"formatted": "Test User"}, "emails": [{"value": work["value"], "type": "work"}]},
}
print("canaille", version("canaille"))
told = []
for step, body in steps.items():
    answer = http.post("/scim/v2/Users", json=body, headers=headers, content_type="application/scim+json")
    told.append((answer.status_code, answer.get_json()["detail"]))
    print(step.ljust(22), "->", *told[-1])
schema = http.get(f"/scim/v2/Schemas/{CORE}", headers=headers).get_json()
parts = {a["name"]: {s["name"]: s["required"] for s in a.get("subAttributes", [])} for a in schema["attributes"]}
print("/Schemas: name.formatted required:", parts["name"]["formatted"], "- parts of an e-mail:", list(parts["emails"]))
assert [status for status, _ in told] == [400, 400, 400], "it is taken now"
assert "formatted" in told[0][1] and "primary" in told[1][1] and "type" in told[2][1]
assert parts["name"]["formatted"] and list(parts["emails"]) == ["value"]
EOF
