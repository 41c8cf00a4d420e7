#!/usr/bin/env bash
# What surprised: /Schemas says that userName minds no case (caseExact: false), and the filter minds it: Okta's question whether
#   `ann@example.com` exists is answered with nobody where `Ann@example.com` does.
# Source: scimmy 1.3.5 (npm), Filter.match through GET /Users.
# For whoever connects it: the account is created a second time, unless the service's own code refuses it. Ask in the case that
#   the account has, or list.
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
await call('POST', '/Users', { schemas: [CORE], userName: 'Ann@example.com' });
const schema = (await call('GET', `/Schemas/${CORE}`)).body.attributes.find((attribute) => attribute.name === 'userName');
const count = async (name) => (await call('GET', `/Users?filter=${encodeURIComponent(`userName eq "${name}"`)}`)).body.totalResults;
const [same, other] = [await count('Ann@example.com'), await count('ann@example.com')];
console.log(`schema: caseExact ${schema.caseExact}; found as Ann@example.com: ${same}, as ann@example.com: ${other}`);
assert.strictEqual(schema.caseExact, false);
assert.deepStrictEqual([same, other], [1, 0], 'the filter minds no case now');
server.close();
server.closeAllConnections();
EOF
node server.mjs
