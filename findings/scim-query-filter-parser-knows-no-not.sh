#!/usr/bin/env bash
# What surprised: the word `not` can't be parsed in front of a group: `not (userName eq "a")` is an error, as is any attribute
#   that is named with its URN, and two blanks between words. All three are in the grammar of RFC 7644.
# Source: scim-query-filter-parser 2.0.4 (npm), compileFilter.
# For whoever connects it: a service built on it answers 400 or 500 to filters that other services take. Keep to `attribute
#   operator value`, joined with and/or, where the other side isn't known.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
npm install --silent --no-audit --no-fund 'scim-query-filter-parser@2.0.4'

node - <<'EOF'
const assert = require('assert');
const { compileFilter } = require('scim-query-filter-parser');
const readable = (text) => {
  let is = true;
  try { compileFilter(text); } catch { is = false; }
  console.log(text.padEnd(85), is ? 'is read' : "can't be read");
  return is;
};
console.log('scim-query-filter-parser 2.0.4');
assert.ok(readable('userName eq "a" and (active eq true or title pr)'));
assert.ok(!readable('not (userName eq "a")'), '"not" is known now');
assert.ok(!readable('active eq true and not (userName eq "a")'));
assert.ok(!readable('urn:ietf:params:scim:schemas:core:2.0:User:userName eq "a"'), 'URNs are known now');
assert.ok(!readable('userName  eq "a"'));
EOF
