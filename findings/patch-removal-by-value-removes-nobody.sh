#!/usr/bin/env bash
# What surprised: Entra takes somebody out of a group with `remove`, path `members` and the member as value, with "$ref": null
#   beside it. scim-patch removes the member where the value stands alone, and nobody, without an error, where the $ref is
#   there; scim2-models refuses both with 400.
# Source: scim-patch 0.8.3 (npm) beside scim2-models 0.12.3 (PyPI). RFC 7644 knows only the filter in the path, which is what
#   Okta sends, and which both read.
# For whoever connects it: the answer 200 or 204 doesn't say that a member is gone. Send `members[value eq "..."]`, and read the
#   group back.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install -q --no-compile --disable-pip-version-check 'scim2-models==0.12.3' 'pydantic==2.14.4'
npm install --silent --no-audit --no-fund 'scim-patch@0.8.3'

cat >operations.json <<'EOF'
[
  { "op": "remove", "path": "members[value eq \"1\"]" },
  { "op": "Remove", "path": "members", "value": [{ "value": "1" }] },
  { "op": "Remove", "path": "members", "value": [{ "$ref": null, "value": "1" }] }
]
EOF
node - >patch.txt <<'EOF'
const { scimPatch } = require('scim-patch');
for (const operation of require('./operations.json')) {
  const group = { schemas: [], meta: {}, displayName: 'Admins', members: [{ value: '1' }, { value: '2' }] };
  console.log(scimPatch(group, [operation]).members.map((member) => member.value).join(' '));
}
EOF
venv/bin/python - >models.txt <<'EOF'
import json

from scim2_models import Group, PatchOp, SCIMException

for operation in json.load(open("operations.json")):
    group = Group.model_validate({"id": "g", "displayName": "Admins", "members": [{"value": "1"}, {"value": "2"}]})
    body = {"schemas": ["urn:ietf:params:scim:api:messages:2.0:PatchOp"], "Operations": [operation]}
    try:
        PatchOp[Group].model_validate(body).patch(group)
        print(*[member.value for member in group.members])
    except (SCIMException, ValueError) as exc:
        print("refused:", " ".join(str(exc).split())[:70])
EOF
echo 'members left of 1 and 2, by scim-patch 0.8.3:'; cat patch.txt
echo 'by scim2-models 0.12.3:'; cat models.txt
test "$(tr '\n' , <patch.txt)" = '2,2,1 2,'
test "$(cut -d: -f1 models.txt | tr '\n' ,)" = '2,refused,refused,'
