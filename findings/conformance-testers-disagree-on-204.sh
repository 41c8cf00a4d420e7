#!/usr/bin/env bash
# What surprised: two testers for SCIM services judge the same server and the same answer: scim2-tester passes all of it,
#   scim-sanity fails four of its steps, since a PATCH is answered with 204 and no body. RFC 7644, 3.5.2 allows both, and Okta
#   takes both.
# Source: scim2-server 0.8.3 under scim2-tester 0.5.2 (by scim2-cli 0.6.0) and scim-sanity 0.7.4 (PyPI).
# For whoever connects it: read what a tester failed before a service is changed for it. A client must be able to read the
#   account again after a 204.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install -q --no-compile --disable-pip-version-check 'scim2-server==0.8.3' 'scim2-models==0.12.3' 'scim2-client==0.13.2' 'scim2-tester==0.5.2' 'scim2-cli==0.6.0' 'scim-sanity==0.7.4'

port=$(python3 -c 'import socket; s = socket.create_server(("127.0.0.1", 0)); print(s.getsockname()[1])')
venv/bin/scim2-server --hostname 127.0.0.1 --port "$port" >server.log 2>&1 &
server=$!
trap 'kill $server; rm -rf "$work"' EXIT
for _ in $(seq 100); do
  if grep -q Serving server.log; then break; fi
  sleep 0.2
done
url=http://127.0.0.1:$port/v2
venv/bin/scim2 --url "$url" test >tester.txt
venv/bin/scim-sanity probe "$url" --token t --i-accept-side-effects >sanity.txt || true
passed=$(grep -c '^SUCCESS' tester.txt)
failed=$(grep -c '^ERROR' tester.txt || true)
echo "scim2-tester 0.5.2: $passed passed, $failed failed"
echo 'scim-sanity 0.7.4:'
grep -A1 'FAIL' sanity.txt
grep ' passed, ' sanity.txt
test "$passed" -gt 100
test "$failed" = 0
test "$(grep -c 'FAIL\] PATCH' sanity.txt)" = 4
grep -q 'got 204' sanity.txt
