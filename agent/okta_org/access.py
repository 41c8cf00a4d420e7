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
from okta.config.config_setter import ConfigSetter
from okta.config.config_validator import ConfigValidator
from okta.jwt import JWT

from agent import __version__
from agent.model.errors import ConfigError
from agent.settings import OktaSettings

_WRONG_KEY = "okta.private_key: not a private RSA key in PEM or JWK form"
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
    try:
        # The SDK's own reading of JWKs fails on lists (key_ops) and on true.
        key = {k: v for k, v in json.loads(text).items() if isinstance(v, str)} if text.startswith("{") else text
        JWT.get_PEM_JWK(key)
    except Exception:  # noqa: BLE001 - three libraries' errors, which may quote the key
        raise ConfigError([_WRONG_KEY]) from None
    return key


def trust(settings: OktaSettings, url: str) -> ssl.SSLContext | bool:
    if not settings.ca_file and url.startswith("http://"):
        return True  # loopback; the system's authorities would be loaded for nothing
    try:
        return ssl.create_default_context(cafile=settings.ca_file)
    except OSError as error:
        raise ConfigError([f"okta.ca_file: can't be read as PEM certificates ({type(error).__name__})"]) from error


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
