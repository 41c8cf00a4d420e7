#!/usr/bin/env bash
# What surprised: `emails[type eq "work" and value eq "ann@home.example"]` finds an account whose work address is another one:
#   each term may be true of another address, as if the brackets weren't there. The brackets are there to say `of one and the
#   same`.
# Source: scim2-parse-filter 0.2.10 (npm, under scim-patch too), filter(parse(...)); scim-query-filter-parser 2.0.4 and RFC
#   7644, 3.4.2.2 read it the other way.
# For whoever connects it: a search for a work address finds people by their private one. Check what comes back against the
#   filter before anybody is linked by it.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
npm install --silent --no-audit --no-fund 'scim2-parse-filter@0.2.10' 'scim-query-filter-parser@2.0.4'

node - <<'EOF'
const assert = require('assert');
const { parse, filter } = require('scim2-parse-filter');
const { compileFilter } = require('scim-query-filter-parser');
const ann = { emails: [{ type: 'work', value: 'ann@example.com' }, { type: 'home', value: 'ann@home.example' }] };
const one = 'emails[type eq "work" and value eq "ann@home.example"]';
const right = 'emails[type eq "work" and value eq "ann@example.com"]';
const seen = (text) => [filter(parse(text))(ann), compileFilter(text)(ann)];
console.log('scim2-parse-filter 0.2.10, scim-query-filter-parser 2.0.4');
for (const text of [right, one]) console.log(text.padEnd(55), '->', seen(text));
assert.deepStrictEqual(seen(right), [true, true]);
assert.deepStrictEqual(seen(one), [true, false], 'both keep to one address now');
EOF
