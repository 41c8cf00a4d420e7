#!/usr/bin/env bash
# What surprised: a filter that names its attribute in full, as `urn:...:enterprise:2.0:User:department`, answers 200 with
#   nobody, though the accounts show that attribute. A PATCH with the very same path is understood.
# Source: scimmy 1.3.5, scimmy-routers 1.3.2 (npm).
# For whoever connects it: this is the one way to filter by an attribute of an extension (RFC 7644, 3.10), and some clients
#   write the core attributes so as well. `Nobody` is no proof here that a name is free.
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
SCIMMY.Resources.User.extend(SCIMMY.Schemas.EnterpriseUser);
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
const ENTERPRISE = 'urn:ietf:params:scim:schemas:extension:enterprise:2.0:User';
await call('POST', '/Users', {
  schemas: [CORE, ENTERPRISE], userName: 'ann@example.com', [ENTERPRISE]: { department: 'IT' },
});
const find = async (filter) => {
  const answer = await call('GET', `/Users?filter=${encodeURIComponent(filter)}`);
  console.log(filter.padEnd(90), '->', answer.status, answer.body.totalResults);
  return [answer.status, answer.body.totalResults];
};
const Operations = [{ op: 'replace', path: `${ENTERPRISE}:department`, value: 'HR' }];
const patched = await call('PATCH', '/Users/1', { schemas: ['urn:ietf:params:scim:api:messages:2.0:PatchOp'], Operations });
console.log('PATCH with that path ->', patched.status, JSON.stringify(patched.body[ENTERPRISE]));
assert.strictEqual(patched.body[ENTERPRISE].department, 'HR');
assert.deepStrictEqual(await find('userName eq "ann@example.com"'), [200, 1]);
assert.deepStrictEqual(await find(`${CORE}:userName eq "ann@example.com"`), [200, 0], 'core attributes are found in full now');
assert.deepStrictEqual(await find(`${ENTERPRISE}:department eq "HR"`), [200, 0], 'extensions can be searched now');
server.close();
server.closeAllConnections();
EOF
node server.mjs
