#!/usr/bin/env bash
# What surprised: an address that is added as primary leaves the old one primary too, with scim-patch as with SCIMMY;
#   scim2-models takes the mark off the old one, as RFC 7644, 3.5.2 demands of the service.
# Source: scim-patch 0.8.3, scimmy 1.3.5 (npm), scim2-models 0.12.3 (PyPI).
# For whoever connects it: `the` primary address of an account can be two, and a strict reader (scim2-models in responses)
#   refuses such an account. Replace the list, or take the mark off in the same PATCH.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install -q --no-compile --disable-pip-version-check 'scim2-models==0.12.3' 'pydantic==2.14.4'
npm install --silent --no-audit --no-fund 'scim-patch@0.8.3' 'scimmy@1.3.5'

cat >operation.json <<'EOF'
{ "op": "add", "path": "emails", "value": [{ "value": "new@example.com", "type": "home", "primary": true }] }
EOF
cat >account.json <<'EOF'
{
  "schemas": ["urn:ietf:params:scim:schemas:core:2.0:User"], "id": "1", "userName": "ann@example.com",
  "emails": [{ "value": "old@example.com", "type": "work", "primary": true }]
}
EOF
cat >patch.mjs <<'EOF'
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import SCIMMY from 'scimmy';

const { scimPatch } = createRequire(import.meta.url)('scim-patch');
const read = (name) => JSON.parse(readFileSync(name));
const schemas = ['urn:ietf:params:scim:api:messages:2.0:PatchOp'];
const primary = (account) => account.emails.filter((email) => email.primary).map((email) => email.value).join(' ');
console.log('scim-patch 0.8.3:', primary(scimPatch({ ...read('account.json'), meta: {} }, [read('operation.json')])));
const message = new SCIMMY.Messages.PatchOp({ schemas, Operations: [read('operation.json')] });
console.log('scimmy 1.3.5:', primary(await message.apply(new SCIMMY.Schemas.User(read('account.json')))));
EOF
node patch.mjs >primary.txt
venv/bin/python - >>primary.txt <<'EOF'
import json

from scim2_models import PatchOp, User

user = User.model_validate(json.load(open("account.json")))
operation = json.load(open("operation.json"))
body = {"schemas": ["urn:ietf:params:scim:api:messages:2.0:PatchOp"], "Operations": [operation]}
PatchOp[User].model_validate(body).patch(user)
print("scim2-models 0.12.3:", *[email.value for email in user.emails if email.primary])
EOF
cat primary.txt
test "$(cut -d: -f2 primary.txt | tr '\n' ,)" = ' old@example.com new@example.com, old@example.com new@example.com, new@example.com,'
