#!/usr/bin/env bash
# What surprised: Okta's SDK for Node keeps every single user that it read, for as long as the process lives: the cache that is
#   on by default has no expiry. When somebody else suspends that user, the list says SUSPENDED and a read by id goes on saying
#   ACTIVE, without a call.
# Source: @okta/okta-sdk-nodejs 8.1.0 (npm), MemoryStore and the default cache middleware; the org is a local server.
# For whoever connects it: whatever runs longer than one question needs `cacheMiddleware: null`, or decides about people's
#   access on the state of its first look. Only writes by the same client drop an entry.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
npm install --silent --no-audit --no-fund '@okta/okta-sdk-nodejs@8.1.0'

node - <<'EOF'
const assert = require('assert');
const { Client } = require('@okta/okta-sdk-nodejs');
let status = 'ACTIVE';
let calls = 0;
const org = require('http').createServer((request, response) => {
  calls += 1;
  const self = `http://127.0.0.1:${org.address().port}/api/v1/users/00u1`;
  const user = { id: '00u1', status, profile: { login: 'ann@example.com' }, _links: { self: { href: self } } };
  response.setHeader('Content-Type', 'application/json');
  response.end(JSON.stringify(request.url.endsWith('/00u1') ? user : [user]));
});
org.listen(0, '127.0.0.1', async () => {
  const orgUrl = `http://127.0.0.1:${org.address().port}`;
  const realNow = Date.now;
  const client = new Client({ orgUrl, token: 't' });
  const uncached = new Client({ orgUrl, token: 't', cacheMiddleware: null });
  const first = (await client.userApi.getUser({ userId: '00u1' })).status;
  status = 'SUSPENDED'; // by an administrator, elsewhere
  Date.now = () => realNow() + 365 * 24 * 3600 * 1000;
  const before = calls;
  const second = (await client.userApi.getUser({ userId: '00u1' })).status;
  const asked = calls - before;
  Date.now = realNow;
  const listed = [];
  for await (const user of await client.userApi.listUsers()) listed.push(user.status);
  const fresh = (await uncached.userApi.getUser({ userId: '00u1' })).status;
  console.log('okta-sdk-nodejs', require('@okta/okta-sdk-nodejs/package.json').version);
  console.log(`read: ${first}; suspended elsewhere; read a year later: ${second}, with ${asked} calls; listed: ${listed}; without cache: ${fresh}`);
  assert.deepStrictEqual([first, second, asked], ['ACTIVE', 'ACTIVE', 0]);
  assert.deepStrictEqual([listed[0], fresh], ['SUSPENDED', 'SUSPENDED']);
  org.close();
  process.exit(0);
});
EOF
