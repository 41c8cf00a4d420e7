"""From the settings to what the SDK signs and connects with, checked. Opens no connection.

Imports the SDK, so it is itself imported on connecting only.
"""

import json
import logging
import ssl
from ipaddress import ip_address
from typing import Any
from urllib.parse import urlsplit

import aiohttp

from agent import __version__
from agent.model.errors import ConfigError
from agent.okta_org.slim import ConfigSetter, ConfigValidator
from agent.settings import OktaSettings
from agent.settings.proxy import proxy_for

_WRONG_KEY = "okta.private_key: not a private RSA key in PEM or JWK form"
_ENCRYPTED = (
    "okta.private_key: the key is encrypted with a passphrase, and the agent has no place for one. Decrypt it (openssl pkey "
    "-in KEY -out PLAIN) and keep it where the agent alone reads it"
)
_NOT_RSA = (
    "okta.private_key: {kind}, and Okta's SDK signs with RSA alone. Generate an RSA key for the app in Okta (General, Client "
    "Credentials, Public Keys) and use that"
)
_PUBLIC = "okta.private_key: the public half of a key; Okta shows the private one once, when it is generated"
#: An answer may take this many times the longest silence; else one byte a minute would hold a run for ever.
_WHOLE_ANSWER = 10


class _Config(ConfigSetter):  # type: ignore[misc]
    """The SDK's defaults and ours; nothing from its environment variables or from okta.yaml files lying about."""

    def _update_config(self) -> None:
        self._apply_default_values()


def org_url(settings: OktaSettings) -> str:
    """Scheme and host of the org, checked: a token must not go out in the clear."""
    url = (settings.org_url or "").strip().rstrip("/")
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        raise ConfigError(["okta.org_url: not an address; it looks like https://example.okta.com"]) from None
    if not parts.hostname:
        raise ConfigError(["okta.org_url: missing; it looks like https://example.okta.com"])
    if parts.username or parts.path or parts.query or parts.fragment:
        raise ConfigError(["okta.org_url: only scheme and host, such as https://example.okta.com"])
    if parts.scheme != "https" and not (parts.scheme == "http" and _loopback(parts.hostname)):
        raise ConfigError(["okta.org_url: must begin with https://; plain http is for loopback alone"])
    return url


def _loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def sdk_config(settings: OktaSettings, url: str) -> dict[str, Any]:
    client: dict[str, Any] = {
        "orgUrl": url,
        "userAgent": f"opshelm-okta-agent/{__version__}",
        "rateLimit": {"maxRetries": 0},
    }
    if settings.api_token:
        client |= {"authorizationMode": "SSWS", "token": _token(settings.api_token.get_secret_value())}
    elif settings.client_id and settings.private_key:
        client |= {
            "authorizationMode": "PrivateKey",
            "clientId": settings.client_id,
            "privateKey": _private_key(settings.private_key.get_secret_value()),
            "scopes": list(settings.scopes),
            "dpopEnabled": settings.dpop,
        }
        if settings.key_id:
            client["kid"] = settings.key_id
    else:
        raise ConfigError(["okta: needs api_token, or client_id and private_key"])
    setter = _Config()
    testing = {"testingDisableHttpsCheck": url.startswith("http://")}
    setter._apply_config({"client": client, "testing": testing})  # noqa: SLF001 - its only way but for the environment
    config: dict[str, Any] = setter._prune_config(setter.get_config())  # noqa: SLF001
    try:
        ConfigValidator(config)
    except ValueError:
        raise ConfigError(["okta: the SDK refuses org_url, token or client_id; is -admin in org_url?"]) from None
    return config


def _token(text: str) -> str:
    token = text.strip()
    if not token.isascii() or not token.isprintable() or " " in token:
        raise ConfigError(["okta.api_token: holds spaces, line ends or characters that no token has"])
    return token


def _private_key(text: str) -> str | dict[str, str]:
    """A PEM or a JWK in the one form of each that the SDK reads; never a path, which it would open."""
    text = text.strip().replace("\\n", "\n")
    if not text.startswith(("{", "-----BEGIN")):
        raise ConfigError([_WRONG_KEY])
    if "ENCRYPTED" in text.partition("\n\n")[0]:
        raise ConfigError([_ENCRYPTED])
    from okta.jwt import JWT  # with an API token nothing is signed

    try:
        # The SDK's own reading of JWKs fails on lists (key_ops) and on true.
        key = {k: v for k, v in json.loads(text).items() if isinstance(v, str)} if text.startswith("{") else text
        kind, private = _kind(key)
        if kind == "RSA" and private:
            JWT.get_PEM_JWK(key)
    except Exception:  # noqa: BLE001 - three libraries' errors, which may quote the key
        raise ConfigError([_WRONG_KEY]) from None
    if kind != "RSA":
        raise ConfigError([_NOT_RSA.format(kind="an EC key" if kind == "EC" else f"a key of the kind {kind[:8]}")])
    if not private:
        raise ConfigError([_PUBLIC])
    return key


def _kind(key: str | dict[str, str]) -> tuple[str, bool]:
    """RSA, EC, OKP, …; and whether it is the private half."""
    from jwcrypto.jwk import JWK

    made = JWK.from_pem(key.encode()) if isinstance(key, str) else JWK(**key)
    return str(made["kty"]), bool(made.has_private)


def trust(settings: OktaSettings) -> ssl.SSLContext | bool:
    if not settings.ca_file:
        return True  # aiohttp has loaded the system's authorities already
    try:
        return ssl.create_default_context(cafile=settings.ca_file)
    except OSError as error:
        raise ConfigError([f"okta.ca_file: can't be read as PEM certificates ({type(error).__name__})"]) from error


def proxy(settings: OktaSettings, url: str) -> str | None:
    """okta.proxy, else what HTTPS_PROXY, HTTP_PROXY, ALL_PROXY and NO_PROXY say, as towards every other host."""
    found = settings.proxy or proxy_for(url)
    if found is not None and urlsplit(found).scheme not in ("http", "https"):
        raise ConfigError(
            ["okta.proxy: the proxy for Okta, from there or from the environment, must look like http://HOST:PORT"]
        )
    return found


def timeout(settings: OktaSettings) -> aiohttp.ClientTimeout:
    silence_s = settings.read_timeout.total_seconds()
    return aiohttp.ClientTimeout(
        total=settings.connect_timeout.total_seconds() + _WHOLE_ANSWER * silence_s,
        connect=settings.connect_timeout.total_seconds(),
        sock_read=silence_s,
    )


def silence() -> None:
    """The SDK's log prints the Authorization header at DEBUG. A later dictConfig undoes ``disabled``, but not the other two."""
    log = logging.getLogger("okta-sdk-python")
    log.disabled = True
    log.propagate = False
    log.setLevel(logging.CRITICAL + 1)
