#!/usr/bin/env bash
# What surprised: a page that begins behind the last account is not empty: it holds the first accounts again, under the
#   startIndex that was asked for.
# Source: scimmy 1.3.5, scimmy-routers 1.3.2 (npm), under Express 4.22.3.
# For whoever connects it: a client that reads until a page is empty never ends here, and one that looks for a page behind the
#   end, to see whether the list grew meanwhile, finds people whom it has read already. Stop at totalResults, and drop ids that
#   were seen.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
npm install --silent --no-audit --no-fund 'scimmy@1.3.5' 'scimmy-routers@1.3.2' 'express@4.22.3'

cat >server.mjs <<'EOF'
import assert from 'node:assert';
import express from 'express';
import SCIMMY from 'scimmy';
import SCIMMYRouters from 'scimmy-routers';

const people = new Map();
SCIMMY.Resources.declare(SCIMMY.Resources.User, {
  egress: ({ id, filter }) => (id ? people.get(id) : filter ? filter.match([...people.values()]) : [...people.values()]),
  ingress: ({ id = String(people.size + 1) }, data) => people.set(id, { ...data, id }).get(id),
  degress: ({ id }) => people.delete(id),
});
const server = express().use('/scim', new SCIMMYRouters({ type: 'bearer', handler: () => 'okta' })).listen(0, '127.0.0.1');
await new Promise((ready) => server.once('listening', ready));
const call = async (method, path, body, headers = {}) => {
  const response = await fetch(`http://127.0.0.1:${server.address().port}/scim${path}`, {
    method,
    body: body && JSON.stringify(body),
    headers: { Authorization: 'Bearer t', 'Content-Type': 'application/scim+json', ...headers },
  });
  const text = await response.text();
  return { status: response.status, headers: response.headers, body: text ? JSON.parse(text) : null };
};
const CORE = 'urn:ietf:params:scim:schemas:core:2.0:User';
console.log('scimmy 1.3.5, scimmy-routers 1.3.2, Express 4');
for (let n = 1; n <= 5; n += 1) await call('POST', '/Users', { schemas: [CORE], userName: `user${n}@example.com` });
const ids = async (query) => {
  const page = (await call('GET', `/Users?${query}`)).body;
  console.log(query, '->', JSON.stringify({ ...page, schemas: undefined, Resources: page.Resources.map((user) => user.id) }));
  return [page.startIndex, ...page.Resources.map((user) => user.id)];
};
assert.deepStrictEqual(await ids('startIndex=5&count=2'), [5, '5']);
assert.deepStrictEqual(await ids('startIndex=6&count=2'), [6, '1', '2'], 'a page behind the end is empty now');
server.close();
server.closeAllConnections();
EOF
node server.mjs
