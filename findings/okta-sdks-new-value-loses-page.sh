#!/usr/bin/env bash
# What surprised: one app user whose `syncState` this version of the SDK for Python doesn't know makes it raise for the whole
#   page, and the others of that page are lost with it. Okta's SDK for Node hands out the same page, the unknown value as it
#   came.
# Source: okta 3.4.6 (PyPI) beside @okta/okta-sdk-nodejs 8.1.0 (npm), the list of an app's users; the org is a local server.
# For whoever connects it: Okta adds values to such lists. Read listings raw and judge each person alone, or be ready to see
#   nobody because of one.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install -q --no-compile --disable-pip-version-check 'okta==3.4.6' 'aiohttp==3.14.5' 'pydantic==2.14.4'
npm install --silent --no-audit --no-fund '@okta/okta-sdk-nodejs@8.1.0'
export OKTA_TESTING_TESTINGDISABLEHTTPSCHECK=true # the org below is plain http on loopback

cat >org.js <<'EOF'
const users = ['SYNCHRONIZED', 'A_STATE_OF_NEXT_YEAR', 'SYNCHRONIZED'].map((syncState, n) => (
  { id: `00u${n}`, scope: 'USER', status: 'PROVISIONED', syncState }));
const org = require('http').createServer((request, response) => {
  response.setHeader('Content-Type', 'application/json');
  response.end(JSON.stringify(users));
});
org.listen(0, '127.0.0.1', () => require('fs').writeFileSync('port', String(org.address().port)));
EOF
node org.js &
org=$!
trap 'kill $org; rm -rf "$work"' EXIT
until test -s port; do sleep 0.1; done
export URL=http://127.0.0.1:$(cat port)

venv/bin/python - <<'EOF'
import asyncio
import os

from okta.client import Client
from pydantic import ValidationError


async def main() -> None:
    async with Client({"orgUrl": os.environ["URL"], "token": "t"}) as client:
        try:
            users, _, error = await client.list_application_users("0oa1")
        except ValidationError as exc:
            print("okta 3.4.6 (Python): raised", type(exc).__name__, "-", str(exc).splitlines()[2].strip()[:90])
        else:
            raise SystemExit(f"the page is read now: {users} {error}")


asyncio.run(main())
EOF
node - <<'EOF'
const { Client } = require('@okta/okta-sdk-nodejs');
(async () => {
  const client = new Client({ orgUrl: process.env.URL, token: 't' });
  const seen = [];
  for await (const user of await client.applicationApi.listApplicationUsers({ appId: '0oa1' })) seen.push(user.syncState);
  console.log('okta-sdk-nodejs 8.1.0:', seen.join(', '));
  require('assert').deepStrictEqual(seen, ['SYNCHRONIZED', 'A_STATE_OF_NEXT_YEAR', 'SYNCHRONIZED']);
})();
EOF
