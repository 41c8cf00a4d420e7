#!/usr/bin/env bash
# What surprised: an e-mail address may be refused or come back as another text: `test.user@okta.local`, the address in the
#   examples of Okta's SCIM guide, `ann@localhost` and any `.test` name are 400, and `Ann@EXAMPLE.com` is stored as
#   `Ann@example.com`. userName, often the same text, is left as it is.
# Source: scim2-models 0.12.3 (PyPI), and so scim2-server, scim2-client and what is built on them.
# For whoever connects it: a test with Okta's own example fails, and a comparison letter by letter finds a difference in every
#   look. Compare the part behind the @ without regard to case.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install -q --no-compile --disable-pip-version-check 'scim2-models==0.12.3' 'pydantic==2.14.4'

venv/bin/python - <<'EOF'
from importlib.metadata import version

from pydantic import ValidationError
from scim2_models import User

CORE = "urn:ietf:params:scim:schemas:core:2.0:User"
read = {}
for address in ("ann@example.com", "Ann@EXAMPLE.com", "test.user@okta.local", "ann@localhost", "ann@example.test"):
    try:
        user = User.model_validate({"schemas": [CORE], "userName": address, "emails": [{"value": address}]})
        read[address] = f"{user.user_name} {user.emails[0].value}"
    except ValidationError as exc:
        read[address] = "refused"
print("scim2-models", version("scim2-models"))
for address, result in read.items():
    print(address.ljust(22), "->", result)
assert list(read.values()) == ["ann@example.com ann@example.com", "Ann@EXAMPLE.com Ann@example.com"] + ["refused"] * 3
EOF
