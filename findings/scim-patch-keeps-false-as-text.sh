#!/usr/bin/env bash
# What surprised: two spellings of a deactivation are taken without an error and deactivate nobody: the text "False", as Entra
#   sends it, is stored as that text, which is true in JavaScript, and the key `Active` makes a second attribute beside
#   `active`, since names mind case here (RFC 7643, 2.1: they don't).
# Source: scim-patch 0.8.3 (npm), scimPatch. SCIMMY refuses such text with 400, scim2-models and django-scim2-server read it.
# For whoever connects it: a 200 to a deactivation is no proof. Read the account back and look for `active` being false, not for
#   it being no longer true.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
npm install --silent --no-audit --no-fund 'scim-patch@0.8.3'

node - <<'EOF'
const assert = require('assert');
const { scimPatch } = require('scim-patch');
const active = (operation) => {
  const account = scimPatch({ schemas: [], meta: {}, userName: 'ann@example.com', active: true }, [operation]);
  console.log(JSON.stringify(operation).padEnd(55), '->', JSON.stringify({ active: account.active, Active: account.Active }));
  return account.active;
};
console.log('scim-patch 0.8.3');
assert.strictEqual(active({ op: 'replace', value: { active: false } }), false);
assert.strictEqual(active({ op: 'Replace', path: 'active', value: 'False' }), 'False', 'the text is read now');
assert.strictEqual(active({ op: 'replace', value: { Active: false } }), true, 'names mind no case now');
EOF
