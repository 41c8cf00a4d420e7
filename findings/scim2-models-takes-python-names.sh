#!/usr/bin/env bash
# What surprised: the names of its Python fields are taken from the wire as if they were SCIM's: a body with `user_name` and a
#   filter `name.given_name eq ...` are understood, and `userName` comes back. Attributes that SCIM doesn't know are refused
#   otherwise.
# Source: scim2-models 0.12.3 (PyPI), and so scim2-server and what is built on it.
# For whoever connects it: a client that was tested against such a service only may send names that no other service knows. Test
#   against a second one.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install -q --no-compile --disable-pip-version-check 'scim2-models==0.12.3' 'pydantic==2.14.4'

venv/bin/python - <<'EOF'
from importlib.metadata import version

from pydantic import ValidationError
from scim2_models import ScimFilter, User

CORE = "urn:ietf:params:scim:schemas:core:2.0:User"
sent = {"schemas": [CORE], "user_name": "ann@example.com", "name": {"given_name": "Ann"}}
user = User.model_validate(sent)
print("scim2-models", version("scim2-models"))
print("sent:", sent)
print("read:", user.model_dump(exclude_none=True))
text = 'user_name sw "ann" and name.given_name eq "Ann"'
print(text, "->", ScimFilter[User](text).match(user))
try:
    User.model_validate({"schemas": [CORE], "userName": "a", "username_": "b"})
except ValidationError:
    print("username_ is refused")
else:
    raise SystemExit("unknown names are taken now")
assert user.user_name == "ann@example.com" and user.name.given_name == "Ann"
assert ScimFilter[User](text).match(user), "filters take SCIM's names only now"
EOF
