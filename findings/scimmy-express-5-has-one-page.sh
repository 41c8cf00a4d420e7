#!/usr/bin/env bash
# What surprised: the same SCIMMY service pages under Express 4 and not under Express 5: there every page, whatever its
#   startIndex and count, is the first page, and the answer says `startIndex: 1`. Nothing warns, since scimmy-routers allows
#   both.
# Source: scimmy 1.3.5 with scimmy-routers 1.3.2 under express 4.22.3 and 5.3.0 (npm). Express 5 made req.query a getter, so
#   that what the router writes there is lost.
# For whoever connects it: a client that pages by index reads the first accounts again and again, and one that trusts
#   totalResults takes the rest for missing. Ask for a second page before the service is trusted, and compare the startIndex
#   that comes back.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
mkdir express4
npm install --silent --no-audit --no-fund --prefix express4 'scimmy@1.3.5' 'scimmy-routers@1.3.2' 'express@4.22.3'
mkdir express5
npm install --silent --no-audit --no-fund --prefix express5 'scimmy@1.3.5' 'scimmy-routers@1.3.2' 'express@5.3.0'

cat >express4/server.mjs <<'EOF'
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
for (let n = 1; n <= 5; n += 1) await call('POST', '/Users', { schemas: [CORE], userName: `user${n}@example.com` });
const page = (await call('GET', '/Users?startIndex=3&count=2')).body;
console.log(page.startIndex, page.Resources.map((user) => user.id).join(' '));
server.close();
server.closeAllConnections();
EOF
cp express4/server.mjs express5/
echo 'scimmy 1.3.5, scimmy-routers 1.3.2; five accounts, startIndex=3&count=2 answers (startIndex, ids):'
for version in 4 5; do
  node express$version/server.mjs >page$version
  echo "Express $version: $(cat page$version)"
done
test "$(cat page4)" = '3 3 4'
test "$(cat page5)" = '1 1 2 3 4 5'
