#!/usr/bin/env bash
# What surprised: no client can read canaille's accounts page by page: each list with a `count` is a 500. Beside the newest
#   scim2-models that it allows, and pip takes, every list is one, with or without `count`; single accounts are shown.
# Source: canaille 0.3.6 with the extras scim, oidc and front (PyPI), in memory, beside scim2-models 0.12.3 and 0.6.12.
# For whoever connects it: ask for a page before the service is trusted; the ServiceProviderConfig says nothing of it. A 500 that
#   comes each time is no time-out: no waiting mends it.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
cat >lists.py <<'EOF'
import datetime
import logging
import sys
from importlib.metadata import version

from canaille import create_app
from canaille.app import models
from canaille.backends import Backend

logging.disable(logging.CRITICAL)
config = {"SECRET_KEY": "not secret" * 4, "SERVER_NAME": "localhost", "CANAILLE": {"DATABASE": "memory"}}
app = create_app(config | {"CANAILLE_OIDC": {}, "CANAILLE_SCIM": {"ENABLE_SERVER": True}})
with app.app_context():
    now = datetime.datetime.now(datetime.UTC)
    client = models.Client(client_id="agent", client_name="agent", client_secret="s")
    Backend.instance.save(client)
    lasting = {"audience": [client], "issue_date": now, "lifetime": 600}
    Backend.instance.save(models.Token(token_id="t", access_token="t", client=client, scope=[], **lasting))
http = app.test_client()
told = []
for query in ({}, {"startIndex": 1}, {"startIndex": 1, "count": 10}):
    answer = http.get("/scim/v2/Users", query_string=query, headers={"Authorization": "Bearer t"})
    told.append(answer.status_code)
    print("scim2-models", version("scim2-models"), str(query).ljust(32), "->", answer.status_code)
assert told == [int(status) for status in sys.argv[1:]], "it lists otherwise now"
EOF
for versions in '0.12.3 0.13.2 500 500 500' '0.6.12 0.7.5 200 200 500'; do
  read -r models client expected <<<"$versions"
  venv/bin/pip install -q --no-compile --disable-pip-version-check \
    'canaille[scim,oidc,front]==0.3.6' "scim2-models==$models" "scim2-client==$client"
  # shellcheck disable=SC2086 # several words
  venv/bin/python lists.py $expected
done
