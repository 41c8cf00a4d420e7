#!/usr/bin/env bash
# What surprised: does `active ne true` match an account that has no `active`? SCIMMY and scim2-models say yes, two other
#   parsers say no; `title eq null` finds those without a title with the first two and nobody with the others.
# Source: scimmy 1.3.5, scim2-parse-filter 0.2.10, scim-query-filter-parser 2.0.4 (npm) and scim2-models 0.12.3 (PyPI). RFC 7644
#   leaves it open.
# For whoever connects it: a search for `everybody who isn't active` finds other people at each service. Ask for what is there
#   (`active eq false`), and judge the rest from a listing.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install -q --no-compile --disable-pip-version-check 'scim2-models==0.12.3' 'pydantic==2.14.4'
npm install --silent --no-audit --no-fund 'scimmy@1.3.5' 'scim2-parse-filter@0.2.10' 'scim-query-filter-parser@2.0.4'

cat >question.json <<'EOF'
{
  "people": [
    { "id": "1", "userName": "a@example.com", "active": true, "title": "Boss" },
    { "id": "2", "userName": "b@example.com", "active": false, "title": "Clerk" },
    { "id": "3", "userName": "c@example.com" }
  ],
  "filters": ["active eq true", "active eq false", "active ne true", "title ne \"Boss\"", "title eq null"]
}
EOF
venv/bin/python - >models.txt <<'EOF'
import json

from scim2_models import ScimFilter, User

question = json.load(open("question.json"))
people = [User.model_validate(user | {"schemas": ["urn:ietf:params:scim:schemas:core:2.0:User"]}) for user in question["people"]]
for text in question["filters"]:
    print("".join(user.id for user in people if ScimFilter[User](text).match(user)) or "-")
EOF
cat >ask.mjs <<'EOF'
import assert from 'node:assert';
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import SCIMMY from 'scimmy';

const require = createRequire(import.meta.url);
const { parse, filter } = require('scim2-parse-filter');
const { compileFilter } = require('scim-query-filter-parser');
const { people, filters } = JSON.parse(readFileSync('question.json'));
const models = readFileSync('models.txt', 'utf8').split('\n');
const ids = (found) => found.map((user) => user.id).join('') || '-';
const table = Object.fromEntries(filters.map((text, n) => [text, {
  'scim2-models': models[n],
  scimmy: ids(new SCIMMY.Types.Filter(text).match(people)),
  'parse-filter': ids(people.filter(filter(parse(text)))),
  'query-filter-parser': ids(people.filter(compileFilter(text))),
}]));
console.table(table);
assert.deepStrictEqual(filters.map((text) => Object.values(table[text]).join(' ')), [
  '1 1 1 1', '2 2 2 2', '23 23 2 2', '23 23 2 2', '3 3 - -',
], 'they agree otherwise now');
EOF
node ask.mjs
