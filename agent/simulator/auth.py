"""Who calls: an API token (``SSWS``), or an OAuth access token with scopes. Nothing is served to anybody else."""

import hmac
import re

from starlette.types import Scope

from agent.simulator.errors import ApiError
from agent.simulator.org import Org

#: Path pattern → the scope's middle part.
_AREAS = (
    (r"/api/v1/apps(/|$)", "apps"),
    (r"/api/v1/users(/|$)", "users"),
    (r"/api/v1/groups(/|$)", "groups"),
    (r"/api/v1/logs$", "logs"),
    (r"/api/v1/eventHooks(/|$)", "eventHooks"),
    (r"/api/v1/mappings(/|$)", "profileMappings"),
    (r"/api/v1/meta/schemas/", "schemas"),
)


def required_scope(method: str, path: str) -> str | None:
    """The scope that an access token needs for this call; None: any valid token will do."""
    area = next((area for pattern, area in _AREAS if re.match(pattern, path)), None)
    return area and f"okta.{area}.{'read' if method == 'GET' else 'manage'}"


def authenticate(org: Org, scope: Scope) -> str | None:
    """The OAuth client's id, or None for the API token. Raises E0000011 (who?) or E0000006 (may not)."""
    header = _header(scope, b"authorization")
    # Okta's SDK sends the scheme and the token without a blank from its generated methods, with one from its executor.
    key = header.removeprefix("SSWS").strip()
    if header.startswith("SSWS") and hmac.compare_digest(key.encode(), org.settings.token.encode()):
        return None
    scheme, _, token = header.partition(" ")
    if scheme not in ("Bearer", "DPoP"):
        raise ApiError("E0000011")
    grant = org.oauth.grant_of(scheme, token.strip(), _header(scope, b"dpop"), scope["method"], scope["path"])
    needed = required_scope(scope["method"], scope["path"])
    if needed is not None and needed not in grant.scopes and needed.replace(".read", ".manage") not in grant.scopes:
        raise ApiError("E0000006")
    return grant.client_id


def _header(scope: Scope, name: bytes) -> str:
    return next((value.decode("latin-1") for key, value in scope["headers"] if key == name), "")
