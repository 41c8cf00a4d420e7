#!/usr/bin/env bash
# What surprised: where both are set, Okta's SDK for Node takes org and token from the environment and Okta's SDK for Python
#   takes them from okta.yaml in the working folder: same file, same variables, another org.
# Source: okta 3.4.6 (PyPI) beside @okta/okta-sdk-nodejs 8.1.0 (npm); nothing is sent.
# For whoever connects it: a forgotten okta.yaml beside a Python script outranks the variables of the deployment, and points it
#   at the org of whoever wrote the file. Pass orgUrl and token to the client itself.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install -q --no-compile --disable-pip-version-check 'okta==3.4.6' 'aiohttp==3.14.5' 'pydantic==2.14.4'
npm install --silent --no-audit --no-fund '@okta/okta-sdk-nodejs@8.1.0'

cat >okta.yaml <<'EOF'
okta:
  client:
    orgUrl: https://file.example.com
    token: from-the-file
EOF
export OKTA_CLIENT_ORGURL=https://environment.example.com OKTA_CLIENT_TOKEN=from-the-environment

venv/bin/python - >python.txt <<'EOF'
from okta.client import Client

print(Client({}).get_base_url())
EOF
node - >node.txt <<'EOF'
const { Client } = require('@okta/okta-sdk-nodejs');
console.log(new Client().baseUrl);
EOF
echo "okta 3.4.6 (Python): $(cat python.txt)"
echo "okta-sdk-nodejs 8.1.0: $(cat node.txt)"
test "$(cat python.txt)" = https://file.example.com
test "$(cat node.txt)" = https://environment.example.com
