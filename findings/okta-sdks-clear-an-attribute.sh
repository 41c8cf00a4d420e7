#!/usr/bin/env bash
# What surprised: the same update, a title set to null and a cost centre set to the empty text, is sent whole by Okta's SDK for
#   Node and loses both in Okta's SDK for Python: the call succeeds, and the attribute that was to be cleared stays.
# Source: okta 3.4.6 (PyPI) beside @okta/okta-sdk-nodejs 8.1.0 (npm), update of a user and of an app user; the org is a local
#   server.
# For whoever connects it: Okta clears an attribute that is sent as null. From Python that takes a raw request (create_request
#   with keep_empty_params=True).
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install -q --no-compile --disable-pip-version-check 'okta==3.4.6' 'aiohttp==3.14.5' 'pydantic==2.14.4'
npm install --silent --no-audit --no-fund '@okta/okta-sdk-nodejs@8.1.0'
export OKTA_TESTING_TESTINGDISABLEHTTPSCHECK=true # the org below is plain http on loopback

cat >org.js <<'EOF'
const user = { id: '00u1', status: 'ACTIVE', profile: {}, _links: {} };
const org = require('http').createServer((request, response) => {
  let body = '';
  request.on('data', (part) => (body += part));
  request.on('end', () => {
    if (body) require('fs').appendFileSync('sent.txt', `${request.url.split('/')[3]} ${JSON.stringify(JSON.parse(body).profile)}\n`);
    response.setHeader('Content-Type', 'application/json');
    response.end(JSON.stringify(user));
  });
});
org.listen(0, '127.0.0.1', () => require('fs').writeFileSync('port', String(org.address().port)));
EOF
node org.js &
org=$!
trap 'kill $org; rm -rf "$work"' EXIT
until test -s port; do sleep 0.1; done
url=http://127.0.0.1:$(cat port)

URL=$url venv/bin/python - <<'EOF'
import asyncio
import os

from okta.client import Client
from okta.models import AppUserProfileRequestPayload, AppUserUpdateRequest, UpdateUserRequest, UserProfile


async def main() -> None:
    async with Client({"orgUrl": os.environ["URL"], "token": "t"}) as client:
        profile = UserProfile(title=None, costCenter="", lastName="Example")
        await client.update_user("00u1", UpdateUserRequest(profile=profile))
        change = AppUserProfileRequestPayload(profile={"title": None, "role": "admin"})
        await client.update_application_user("0oa1", "00u1", AppUserUpdateRequest(change))


asyncio.run(main())
EOF
mv sent.txt python.txt
URL=$url node - <<'EOF'
const { Client } = require('@okta/okta-sdk-nodejs');
(async () => {
  const client = new Client({ orgUrl: process.env.URL, token: 't' });
  const profile = { title: null, costCenter: '', lastName: 'Example' };
  await client.userApi.updateUser({ userId: '00u1', user: { profile } });
  const appUser = { profile: { title: null, role: 'admin' } };
  await client.applicationApi.updateApplicationUser({ appId: '0oa1', userId: '00u1', appUser });
})();
EOF
echo 'okta 3.4.6 (Python) sent:'; cat python.txt
echo 'okta-sdk-nodejs 8.1.0 sent:'; cat sent.txt
if grep -q 'title\|costCenter' python.txt; then echo 'the SDK for Python clears attributes now'; exit 1; fi
test "$(grep -c '"title":null' sent.txt)" = 2
grep -q '"costCenter":""' sent.txt
