#!/usr/bin/env bash
# What surprised: `not (A)` leaves out whom A matches; `not (A or B)` leaves out nobody.
# Source: scimmy 1.3.5 (npm), Filter.match through GET /Users.
# For whoever connects it: a filter such as `not (userType eq "Service" or userType eq "Bot")` answers 200 with everybody. Write
#   `not (A) and not (B)`, which is right.
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
const ids = async (filter) => {
  const found = (await call('GET', `/Users?filter=${encodeURIComponent(filter)}`)).body.Resources.map((user) => user.id).join('');
  console.log(filter.padEnd(60), '->', found);
  return found;
};
assert.strictEqual(await ids('not (id eq "1")'), '2345');
assert.strictEqual(await ids('id eq "1" or id eq "2"'), '12');
assert.strictEqual(await ids('not (id eq "1") and not (id eq "2")'), '345');
assert.strictEqual(await ids('not (id eq "1" or id eq "2")'), '12345', 'a negated "or" is right now');
server.close();
server.closeAllConnections();
EOF
node server.mjs
