#!/usr/bin/env bash
# What surprised: Okta's group push adds members as {value, display}. Where the group already has the member as {value} alone,
#   scim-patch and scim2-models both add it once more: the group then lists the same person twice.
# Source: scim-patch 0.8.3 (npm) and scim2-models 0.12.3 (PyPI). RFC 7644, 3.5.2.1: a value that is there already is not added
#   again; what `the same value` is, it leaves open.
# For whoever connects it: count the members of a group by value. A later removal by `members[value eq ...]` takes both.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install -q --no-compile --disable-pip-version-check 'scim2-models==0.12.3' 'pydantic==2.14.4'
npm install --silent --no-audit --no-fund 'scim-patch@0.8.3'

cat >operation.json <<'EOF'
{ "op": "add", "path": "members", "value": [{ "value": "1", "display": "ann@example.com" }] }
EOF
node - >patch.txt <<'EOF'
const { scimPatch } = require('scim-patch');
const group = { schemas: [], meta: {}, displayName: 'Admins', members: [{ value: '1' }] };
const values = (operation) => scimPatch(group, [operation]).members?.map((member) => member.value).join(' ') ?? 'nobody';
console.log(values(require('./operation.json')), '/', values({ op: 'remove', path: 'members[value eq "1"]' }));
EOF
venv/bin/python - >models.txt <<'EOF'
import json

from scim2_models import Group, PatchOp

group = Group.model_validate({"id": "g", "displayName": "Admins", "members": [{"value": "1"}]})
operation = json.load(open("operation.json"))
seen = []
for step in (operation, {"op": "remove", "path": 'members[value eq "1"]'}):
    body = {"schemas": ["urn:ietf:params:scim:api:messages:2.0:PatchOp"], "Operations": [step]}
    PatchOp[Group].model_validate(body).patch(group)
    seen.append(" ".join(member.value for member in group.members or []) or "nobody")
print(" / ".join(seen))
EOF
echo "members after member 1 was added again / removed: scim-patch 0.8.3: $(cat patch.txt); scim2-models 0.12.3: $(cat models.txt)"
test "$(cat patch.txt)" = '1 1 / nobody'
test "$(cat models.txt)" = '1 1 / nobody'
