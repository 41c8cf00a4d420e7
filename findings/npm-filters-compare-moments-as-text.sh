#!/usr/bin/env bash
# What surprised: 12:00+02:00 is before 10:30Z, and two parsers that are much used in Node say that it is after: they compare
#   meta.lastModified as text. SCIMMY and scim2-models compare moments.
# Source: scim2-parse-filter 0.2.10 and scim-query-filter-parser 2.0.4 beside scimmy 1.3.5 (npm).
# For whoever connects it: a filter by `meta.lastModified gt` leaves out or adds accounts where the service writes an offset
#   other than Z, or fractions of a second in one place only. Never take such an answer as `all that changed`.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
npm install --silent --no-audit --no-fund 'scim2-parse-filter@0.2.10' 'scim-query-filter-parser@2.0.4' 'scimmy@1.3.5'

node - <<'EOF'
const assert = require('assert');
const { parse, filter } = require('scim2-parse-filter');
const { compileFilter } = require('scim-query-filter-parser');
import('scimmy').then(({ default: SCIMMY }) => {
  const people = [
    { id: '1', meta: { lastModified: '2026-01-01T12:00:00+02:00' } }, // 10:00 UTC
    { id: '2', meta: { lastModified: '2026-01-01T11:00:00Z' } },
  ];
  const text = 'meta.lastModified gt "2026-01-01T10:30:00Z"';
  const ids = (found) => found.map((user) => user.id).join('');
  const found = {
    'scim2-parse-filter 0.2.10': ids(people.filter(filter(parse(text)))),
    'scim-query-filter-parser 2.0.4': ids(people.filter(compileFilter(text))),
    'scimmy 1.3.5': ids(new SCIMMY.Types.Filter(text).match(people)),
  };
  console.log(text, '->', found);
  assert.deepStrictEqual(Object.values(found), ['12', '12', '2'], 'moments are compared otherwise now');
});
EOF
