"""OAuth for service apps through Okta's own SDK: private key, scopes, DPoP with its nonce, revocation."""

import json
from typing import Any

import httpx
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from agent.simulator import SimulatedOrg

CLIENT = "0oaSERVICEAPP0000001"
SCOPES = ["okta.apps.read", "okta.users.read"]


@pytest.fixture(scope="module")
def keys() -> tuple[str, str]:
    """A private and a public key, PEM."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    public = key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    return private.decode(), public.decode()


def register(org: SimulatedOrg, public: str, *, dpop: bool = False) -> None:
    body = {"client_id": CLIENT, "public_key": public, "scopes": SCOPES, "dpop": dpop}
    org.call("PUT", "/simulator/oauth", body)


def config(org: SimulatedOrg, private: str, **more: Any) -> dict[str, Any]:
    return {
        "orgUrl": org.url,
        "authorizationMode": "PrivateKey",
        "clientId": CLIENT,
        "privateKey": private,
        "scopes": SCOPES,
        **more,
    }


async def read(client: Any, path: str, method: str = "GET") -> tuple[int, Any]:
    """One call through the SDK's executor; an error while getting the token comes out."""
    executor = client.executor
    request, error = await executor.create_request(method, path, {})
    if error:
        raise error
    _, response, text, _ = await executor.fire_request_helper(request, 0, 0)
    return response.status, json.loads(text)


def test_a_private_key_gets_a_token_that_reads_within_its_scopes(
    org: SimulatedOrg, sdk_call: Any, keys: tuple[str, str]
) -> None:
    private, public = keys
    register(org, public)
    okta_id = org.state()[0]["okta_id"]

    async def work(client: Any) -> None:
        status, app = await read(client, f"/api/v1/apps/{org.app_id}")
        assert (status, app["label"]) == (200, "OpsHelm")
        assert (await read(client, "/api/v1/users"))[0] == 200
        for method, path in (
            ("GET", "/api/v1/logs"),
            ("GET", "/api/v1/groups"),
            ("POST", f"/api/v1/users/{okta_id}/lifecycle/suspend"),
            ("DELETE", f"/api/v1/apps/{org.app_id}/users/{okta_id}"),
            ("GET", "/api/v1/users/me"),
        ):
            status, body = await read(client, path, method)
            assert (status, body["errorCode"]) == (403, "E0000006"), path
        org.call("PUT", "/simulator/oauth", {"revoke": True})
        assert (await read(client, "/api/v1/users"))[0] == 401

    sdk_call(config(org, private), work)


def test_dpop_goes_through_the_nonce_and_binds_the_token(
    org: SimulatedOrg, sdk_call: Any, keys: tuple[str, str]
) -> None:
    private, public = keys
    register(org, public, dpop=True)

    async def work(client: Any) -> str:
        assert (await read(client, f"/api/v1/apps/{org.app_id}"))[0] == 200
        assert (await read(client, "/api/v1/users?limit=1"))[0] == 200
        request, _ = await client.executor.create_request("GET", "/api/v1/users", {})
        return str(request["headers"]["Authorization"].partition(" ")[2])

    token = sdk_call(config(org, private, dpopEnabled=True), work)
    for scheme in ("Bearer", "DPoP"):
        stolen = httpx.get(f"{org.url}/api/v1/users", headers={"Authorization": f"{scheme} {token}"})
        assert (stolen.status_code, stolen.json()["errorCode"]) == (401, "E0000011")


def test_a_client_that_needs_dpop_gets_no_plain_token(org: SimulatedOrg, sdk_call: Any, keys: tuple[str, str]) -> None:
    private, public = keys
    register(org, public, dpop=True)
    with pytest.raises(Exception, match="invalid_dpop_proof"):
        sdk_call(config(org, private), lambda client: read(client, "/api/v1/users"))


@pytest.mark.parametrize(
    ("change", "error"),
    [({"scopes": ["okta.logs.read"]}, "invalid_scope"), ({"clientId": "0oaSTRANGER000000001"}, "invalid_client")],
)
def test_a_wrong_client_or_scope_gets_no_token(
    org: SimulatedOrg, sdk_call: Any, keys: tuple[str, str], change: dict[str, Any], error: str
) -> None:
    private, public = keys
    register(org, public)
    with pytest.raises(Exception, match=error):
        sdk_call(config(org, private, **change), lambda client: read(client, "/api/v1/users"))


def test_an_assertion_signed_by_another_key_gets_no_token(
    org: SimulatedOrg, sdk_call: Any, keys: tuple[str, str]
) -> None:
    other = rsa.generate_private_key(public_exponent=65537, key_size=2048).public_key()
    pem = other.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    register(org, pem.decode())
    with pytest.raises(Exception, match="invalid_client"):
        sdk_call(config(org, keys[0]), lambda client: read(client, "/api/v1/users"))
