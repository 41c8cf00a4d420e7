#!/usr/bin/env bash
# What surprised: every answer has an ETag, but it is Express that hashes the body: a PATCH with an ETag that is out of date is
#   carried out, and meta.version isn't there. ServiceProviderConfig is right (etag.supported: false), the header misleads.
# Source: scimmy 1.3.5, scimmy-routers 1.3.2 (npm), under Express 4.22.3.
# For whoever connects it: an ETag header is no promise that If-Match protects from lost updates. Believe ServiceProviderConfig,
#   or try a wrong one once.
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
const created = await call('POST', '/Users', { schemas: [CORE], userName: 'ann@example.com' });
const etag = created.headers.get('etag');
const change = (title, ifMatch) => call('PATCH', '/Users/1', {
  schemas: ['urn:ietf:params:scim:api:messages:2.0:PatchOp'], Operations: [{ op: 'replace', path: 'title', value: title }],
}, ifMatch && { 'If-Match': ifMatch });
const first = await change('Director');
const second = await change('Assistant', etag);
const config = (await call('GET', '/ServiceProviderConfig')).body;
console.log('etag.supported:', config.etag.supported, '- ETag of the new account:', etag, '- meta.version:', created.body.meta.version);
console.log('PATCH by somebody else:', first.status, '- PATCH with the old ETag:', second.status, second.body.title);
assert.ok(etag && config.etag.supported === false && created.body.meta.version === undefined);
assert.deepStrictEqual([second.status, second.body.title], [200, 'Assistant'], 'If-Match is kept now');
server.close();
server.closeAllConnections();
EOF
node server.mjs
