#!/usr/bin/env bash
# What surprised: `replace` of {name: {givenName}} without a path drops the family name; the same with `path: name` keeps it.
# Source: scim-patch 0.8.3 (npm), scimPatch. scim2-models 0.12.3 keeps it in both forms.
# For whoever connects it: a client that sends only the parts of a name which changed has emptied the rest, and got a 200. Send
#   `name.givenName`, or all parts.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
npm install --silent --no-audit --no-fund 'scim-patch@0.8.3'

node - <<'EOF'
const assert = require('assert');
const { scimPatch } = require('scim-patch');
const name = (operation) => {
  const account = { schemas: [], meta: {}, userName: 'a', name: { givenName: 'Ann', familyName: 'Example' } };
  const patched = scimPatch(account, [operation]).name;
  console.log(JSON.stringify(operation).padEnd(70), '->', JSON.stringify(patched));
  return patched;
};
console.log('scim-patch 0.8.3');
assert.deepStrictEqual(name({ op: 'replace', path: 'name', value: { givenName: 'Anna' } }), { givenName: 'Anna', familyName: 'Example' });
assert.deepStrictEqual(name({ op: 'replace', value: { 'name.givenName': 'Anna' } }), { givenName: 'Anna', familyName: 'Example' });
assert.deepStrictEqual(name({ op: 'replace', value: { name: { givenName: 'Anna' } } }), { givenName: 'Anna' }, 'it is merged now');
EOF
