"""Signing in: API token, OAuth private key in each form, DPoP, and secrets that are renewed while running."""

import base64
import json
import threading
from urllib.parse import parse_qs

import pytest
from Cryptodome.PublicKey import RSA
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from jwcrypto.jwk import JWK

from agent.model.errors import ConfigError, OktaDenied, OktaThrottled, OktaUnreachable
from agent.okta_org.org import OktaOrg
from agent.settings import OktaSettings
from agent.simulator import SimulatedOrg
from support.scripted import APP, TOKEN, Say, okta_error

APP_PATH = f"/api/v1/apps/{APP}"
TOKEN_PATH = "/oauth2/v1/token"
GOOD = Say(body={"id": APP, "status": "ACTIVE"})
REVOKED = Say(401, okta_error("E0000011", "Invalid token provided"))


@pytest.fixture(scope="module")
def pem() -> str:
    return (
        rsa.generate_private_key(public_exponent=65537, key_size=2048)
        .private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        .decode()
    )


@pytest.fixture
def oauth(pem) -> dict:
    return {"api_token": None, "client_id": "0oaCLIENT", "private_key": pem, "key_id": "kid1"}


def granted(token: str, scope: str = "okta.apps.read okta.users.read", **more) -> Say:
    return Say(body={"token_type": "Bearer", "expires_in": 3600, "access_token": token, "scope": scope, **more})


def claims(jwt: str, part: int) -> dict:
    text = jwt.split(".")[part]
    return json.loads(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))


def authorizations(server) -> list[str]:
    return [asked.headers["authorization"] for asked in server.asked if asked.path != TOKEN_PATH]


def test_an_api_token_is_sent_as_ssws(server, org):
    server.say(APP_PATH, GOOD)
    org.app()
    assert authorizations(server) == [f"SSWS {TOKEN}"]


def test_an_oauth_token_is_fetched_once_and_used_by_all(server, connect, oauth):
    server.say(TOKEN_PATH, granted("tok1"))
    server.rule(APP_PATH, lambda _asked: GOOD)
    org = connect(**oauth)
    threads = [threading.Thread(target=org.app) for _ in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert authorizations(server) == ["Bearer tok1"] * 12
    [asked] = [asked for asked in server.asked if asked.path == TOKEN_PATH]
    form = parse_qs(asked.body.decode())
    assert form["scope"] == ["okta.apps.read okta.users.read okta.logs.read"]
    assert claims(form["client_assertion"][0], 0)["kid"] == "kid1"
    assert claims(form["client_assertion"][0], 1)["aud"] == f"{server.url}{TOKEN_PATH}"


def test_the_scopes_that_okta_granted_are_known(server, connect, oauth):
    server.say(TOKEN_PATH, granted("tok1", "okta.apps.read"))
    org = connect(**oauth)
    assert org.token_scopes() == {"okta.apps.read"}
    assert org.whoami() is None
    assert server.targets() == [TOKEN_PATH]


@pytest.mark.parametrize("form", ["jwk", "jwk with lists and flags", "escaped line ends", "surrounded by blanks"])
def test_each_form_of_the_key_works(server, connect, oauth, pem, form):
    jwk = json.loads(JWK.from_pem(pem.encode()).export())
    key = {
        "jwk": json.dumps(jwk),
        "jwk with lists and flags": json.dumps({**jwk, "key_ops": ["sign"], "ext": True, "x": None}, indent=1),
        "escaped line ends": pem.replace("\n", "\\n"),
        "surrounded by blanks": f"\n  {pem}\n",
    }[form]
    server.say(TOKEN_PATH, granted("tok1"))
    server.say(APP_PATH, GOOD)
    connect(**{**oauth, "private_key": key}).app()
    assert authorizations(server) == ["Bearer tok1"]


@pytest.mark.parametrize(
    "key",
    ["nonsense", "/etc/hostname", "{}", "{not json", "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----"],
)
def test_a_key_that_is_none_is_a_config_error_that_does_not_quote_it(connect, oauth, key):
    with pytest.raises(ConfigError, match=r"okta\.private_key") as caught:
        connect(**{**oauth, "private_key": key})
    assert key not in caught.value.detail


def _pem(key, encryption=None) -> str:
    form = serialization.PrivateFormat.PKCS8
    return key.private_bytes(serialization.Encoding.PEM, form, encryption or serialization.NoEncryption()).decode()


@pytest.mark.parametrize(
    ("key", "words"),
    [
        ("encrypted", "encrypted with a passphrase"),
        ("encrypted as OpenSSL did", "encrypted with a passphrase"),
        ("ec", "an EC key, and Okta's SDK signs with RSA alone"),
        ("ec as a jwk", "an EC key, and Okta's SDK signs with RSA alone"),
        ("ed25519", "a key of the kind OKP, and Okta's SDK signs with RSA alone"),
        ("public", "the public half of a key"),
        ("public as a jwk", "the public half of a key"),
    ],
)
def test_a_key_that_okta_s_sdk_can_t_sign_with_is_named_as_what_it_is(connect, oauth, pem, key, words):
    private = serialization.load_pem_private_key(pem.encode(), None)
    secret = serialization.BestAvailableEncryption(b"passphrase")
    curve = ec.generate_private_key(ec.SECP256R1())
    openssl = serialization.PrivateFormat.TraditionalOpenSSL
    spki = serialization.PublicFormat.SubjectPublicKeyInfo
    text = {
        "encrypted": lambda: _pem(private, secret),
        "encrypted as OpenSSL did": lambda: private.private_bytes(serialization.Encoding.PEM, openssl, secret).decode(),
        "ec": lambda: _pem(curve),
        "ec as a jwk": lambda: JWK.from_pem(_pem(curve).encode()).export(),
        "ed25519": lambda: _pem(ed25519.Ed25519PrivateKey.generate()),
        "public": lambda: private.public_key().public_bytes(serialization.Encoding.PEM, spki).decode(),
        "public as a jwk": lambda: JWK.from_pem(pem.encode()).export_public(),
    }[key]()
    with pytest.raises(ConfigError, match=words) as caught:
        connect(**{**oauth, "private_key": text})
    assert caught.value.detail.startswith("okta.private_key: ")
    assert text[40:60] not in caught.value.detail


def test_an_app_that_demands_dpop_names_the_setting(pem, oauth):
    """The simulator answers as Okta does."""
    public = serialization.load_pem_private_key(pem.encode(), None).public_key()
    text = public.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo).decode()
    with SimulatedOrg.start(users=1) as org:
        client = {"client_id": "0oaCLIENT", "public_key": text, "scopes": OktaSettings().scopes, "dpop": True}
        org.call("PUT", "/simulator/oauth", {**client, "scopes": list(client["scopes"])})
        settings = OktaSettings(org_url=org.url, app_id=org.app_id, **{**oauth, "key_id": None})
        with OktaOrg.connect(settings) as okta, pytest.raises(OktaDenied, match=r"Set okta\.dpop = true"):
            okta.app()


def test_a_token_that_is_revoked_says_whose_and_where_to_look(server, connect):
    server.rule(APP_PATH, lambda _asked: REVOKED)
    with pytest.raises(OktaDenied, match=r"expired, revoked or wrong.*renew okta\.api_token"):
        connect().app()


def test_dpop_binds_tokens_and_answers_to_nonces(server, connect, oauth, pem, monkeypatch):
    # The SDK makes a key of 3072 bits, which takes seconds.
    monkeypatch.setattr("okta.dpop.RSA.generate", lambda _bits: RSA.import_key(pem))
    nonce = [("dpop-nonce", "n1")]
    server.say(TOKEN_PATH, Say(400, {"error": "use_dpop_nonce"}, headers=nonce), granted("tok1", token_type="DPoP"))
    server.say(APP_PATH, Say(401, {"error": "use_dpop_nonce"}, headers=[("dpop-nonce", "n2")]), GOOD)
    assert connect(**oauth, dpop=True).app().id == APP
    last = server.asked[-1].headers
    assert last["authorization"] == "DPoP tok1"
    assert claims(last["dpop"], 1)["nonce"] == "n2"


def test_a_revoked_oauth_token_is_replaced_once(server, connect, oauth):
    server.say(TOKEN_PATH, granted("tok1"), granted("tok2"))
    server.say(APP_PATH, REVOKED, GOOD)
    assert connect(**oauth).app().id == APP
    assert authorizations(server) == ["Bearer tok1", "Bearer tok2"]


def test_an_oauth_app_refused_for_good_is_not_asked_again_and_again(server, connect, oauth):
    server.rule(TOKEN_PATH, lambda _asked: granted("tok"))
    server.rule(APP_PATH, lambda _asked: REVOKED)
    with pytest.raises(OktaDenied):
        connect(**oauth).app()
    assert len(authorizations(server)) == 2


@pytest.mark.parametrize("write", [False, True])
def test_an_api_token_rotated_on_disk_is_taken_up_without_a_restart(server, connect, write):
    fresh = OktaSettings(api_token="rotated")
    user = Say(body={"id": "00u1", "status": "STAGED"})
    path = "/api/v1/users" if write else APP_PATH
    server.rule(path, lambda a: (user if write else GOOD) if a.headers["authorization"] == "SSWS rotated" else REVOKED)
    org = connect(credentials=lambda: fresh)
    for _ in range(2):
        assert org.create_user({}, activate=False).id == "00u1" if write else org.app().id == APP
    assert authorizations(server) == [f"SSWS {TOKEN}", "SSWS rotated", "SSWS rotated"]


def test_many_calls_at_the_moment_of_a_rotation_all_go_through(server, connect):
    read = []

    def fresh() -> OktaSettings:
        read.append(1)
        return OktaSettings(api_token="rotated")

    server.rule(APP_PATH, lambda a: GOOD if a.headers["authorization"] == "SSWS rotated" else REVOKED)
    org = connect(credentials=fresh)
    found = []
    threads = [threading.Thread(target=lambda: found.append(org.app().id)) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [APP] * 16
    assert len(read) == 1


def test_a_private_key_rotated_on_disk_is_taken_up(server, connect, oauth, pem):
    def token(asked):
        assertion = parse_qs(asked.body.decode())["client_assertion"][0]
        if claims(assertion, 0)["kid"] == "kid2":
            return granted("tok2")
        return Say(401, {"error": "invalid_client", "error_description": "no such key"})

    server.rule(TOKEN_PATH, token)
    server.say(APP_PATH, GOOD)
    fresh = OktaSettings(client_id="0oaCLIENT", private_key=pem, key_id="kid2")
    assert connect(**oauth, credentials=lambda: fresh).app().id == APP


def test_only_the_secret_is_taken_from_the_fresh_settings(server, connect):
    server.say(APP_PATH, REVOKED, GOOD)
    elsewhere = OktaSettings(api_token="rotated", org_url="https://elsewhere.example", app_id="0oaOTHER")
    assert connect(credentials=lambda: elsewhere).app().id == APP


def test_a_token_that_the_fresh_settings_lack_is_not_taken_up(server, connect):
    server.say(APP_PATH, REVOKED)
    with pytest.raises(OktaDenied):
        connect(credentials=OktaSettings).app()


@pytest.mark.parametrize(
    ("answer", "error", "words"),
    [
        (Say(401, {"error": "invalid_client", "error_description": "bad"}), OktaDenied, "invalid_client"),
        (Say(400, {"error": "invalid_scope", "error_description": "x"}), OktaDenied, r"okta\.scopes"),
        (Say(400, {"error": "invalid_dpop_proof"}), OktaDenied, "invalid_dpop_proof"),
        (Say(429, okta_error("E0000047")), OktaThrottled, "OAuth token"),
        (Say(500, b"", json=False), OktaUnreachable, "OAuth token"),
        (Say(503, okta_error("E0000010")), OktaUnreachable, "OAuth token"),
        (Say(200, b""), OktaUnreachable, "OAuth token"),
        (Say(200, {"token_type": "Bearer"}), OktaUnreachable, "OAuth token"),
        (Say(200, b"<html>", json=False), OktaUnreachable, "OAuth token"),
        (Say(302, headers=[("Location", "https://elsewhere.example")]), OktaUnreachable, "OAuth token"),
        (Say(hang_up=True), OktaUnreachable, "OAuth token"),
    ],
)
def test_an_oauth_token_that_is_not_to_be_had_is_one_error(server, connect, oauth, answer, error, words):
    server.rule(TOKEN_PATH, lambda _asked: answer)
    with pytest.raises(error, match=words):
        connect(**oauth, max_retries=0).app()
    assert authorizations(server) == []


def test_a_token_endpoint_that_recovers_is_no_failure(server, connect, oauth, waits):
    server.say(TOKEN_PATH, Say(503), Say(hang_up=True), granted("tok1"))
    server.say(APP_PATH, GOOD)
    assert connect(**oauth).app().id == APP
    assert len(waits) == 2
