#!/usr/bin/env bash
# What surprised: an account with a role such as {value: admin, type: default} is refused with 400, a role without a type is
#   taken. The schema has an empty list of canonical values for the types of roles (RFC 7643 defines none), and SCIMMY reads the
#   empty list as `no value is allowed`.
# Source: scimmy 1.3.5 (npm), POST and PATCH /Users; the same for x509Certificates.
# For whoever connects it: Okta and Entra can send typed roles. Leave roles[].type out for this service, or the whole account
#   fails with it.
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
const schema = (await call('GET', `/Schemas/${CORE}`)).body;
const type = schema.attributes.find((attribute) => attribute.name === 'roles').subAttributes.find((attribute) => attribute.name === 'type');
const post = async (role) => {
  const answer = await call('POST', '/Users', { schemas: [CORE], userName: `u${Math.random()}@example.com`, roles: [role] });
  console.log(JSON.stringify(role).padEnd(40), '->', answer.status, answer.body.detail ?? '');
  return answer.status;
};
console.log('canonical values of roles.type in /Schemas:', JSON.stringify(type.canonicalValues));
assert.strictEqual(await post({ value: 'admin' }), 201);
assert.strictEqual(await post({ value: 'admin', type: 'default' }), 400, 'a typed role is taken now');
server.close();
server.closeAllConnections();
EOF
node server.mjs
