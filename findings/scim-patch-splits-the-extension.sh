#!/usr/bin/env bash
# What surprised: a PATCH without a path that carries the enterprise extension as RFC 7643 writes it
#   ({"urn:...:enterprise:2.0:User": {...}}) answers well and stores it under the name `urn:...:enterprise:2.0`, with `User`
#   inside: the key is cut at its last dot. The extension itself stays as it was.
# Source: scim-patch 0.8.3 (npm), scimPatch.
# For whoever connects it: department, manager and employee number seem to be written and are never shown. Send each as `path:
#   urn:...:User:department` to services made with it.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
npm install --silent --no-audit --no-fund 'scim-patch@0.8.3'

node - <<'EOF'
const assert = require('assert');
const { scimPatch } = require('scim-patch');
const ENTERPRISE = 'urn:ietf:params:scim:schemas:extension:enterprise:2.0:User';
const account = () => ({ schemas: [], meta: {}, userName: 'ann@example.com', [ENTERPRISE]: { department: 'IT' } });
const patched = (operation) => {
  const { schemas, meta, userName, ...rest } = scimPatch(account(), [operation]);
  console.log(JSON.stringify(operation), '\n  ->', JSON.stringify(rest));
  return rest;
};
console.log('scim-patch 0.8.3');
const byPath = patched({ op: 'replace', path: `${ENTERPRISE}:department`, value: 'HR' });
const byObject = patched({ op: 'replace', value: { [ENTERPRISE]: { department: 'HR' } } });
assert.deepStrictEqual(byPath, { [ENTERPRISE]: { department: 'HR' } });
assert.deepStrictEqual(byObject[ENTERPRISE], { department: 'IT' }, 'the extension is found now');
assert.deepStrictEqual(byObject['urn:ietf:params:scim:schemas:extension:enterprise:2.0'], { User: { department: 'HR' } });
EOF
