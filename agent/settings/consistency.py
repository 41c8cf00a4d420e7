"""What must hold between settings, and forms that a type can't say. Takes checked sections, gives problems; no sources."""

import ipaddress
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from pydantic import SecretStr

from agent.model.paths import EMAIL_PATH, UnknownPath, parse
from agent.settings.sections import (
    DatabaseSettings,
    DirectorySettings,
    GuardSettings,
    NotifySettings,
    OktaSettings,
    ServerSettings,
)

Problem = tuple[tuple[str, ...], str]


def inconsistencies(sections: dict[str, Any]) -> list[Problem]:
    """``sections`` holds those that are valid in themselves."""
    checks: dict[str, Callable[[Any], Iterator[tuple[str, str]]]] = {
        "okta": _okta, "directory": _directory, "database": _database, "server": _server, "guard": _guard,
        "notify": _notify, "mapping": _mapping,
    }  # fmt: skip
    return [
        ((name, key) if key else (name,), message)
        for name, check in checks.items()
        if name in sections
        for key, message in check(sections[name])
    ]


def _okta(okta: OktaSettings) -> Iterator[tuple[str, str]]:
    if not okta.org_url:
        for key in ("app_id", "api_token", "client_id"):
            if getattr(okta, key):
                yield "org_url", f"missing, but okta.{key} is set"
                break
        return
    yield from _url("org_url", okta.org_url, host_only=True)
    if "-admin." in okta.org_url:
        yield "org_url", "must be the org's own address, without -admin"
    if not okta.app_id:
        yield "app_id", "missing; it is the 0oa… in the address of the app's page in Okta's admin console"
    if okta.api_token and okta.client_id:
        yield "api_token", "set together with okta.client_id; keep one"
    if not (okta.api_token or okta.client_id):
        yield "api_token", "missing; set okta.api_token, or okta.client_id with okta.private_key"
    if okta.client_id and not okta.private_key:
        yield "private_key", "missing, but okta.client_id is set"
    if okta.private_key and not okta.client_id:
        yield "client_id", "missing, but okta.private_key is set"
    if okta.private_key and not okta.private_key.get_secret_value().lstrip().startswith(("-----BEGIN", "{")):
        yield "private_key", "must be a private key as PEM (-----BEGIN …) or JWK ({…})"
    if okta.proxy:
        yield from _url("proxy", okta.proxy, loopback_only=False)
    yield from _file("ca_file", okta.ca_file)


def _directory(directory: DirectorySettings) -> Iterator[tuple[str, str]]:
    if directory.backend == "scim":
        if not directory.base_url:
            yield "base_url", 'missing, but directory.backend is "scim"'
        if not directory.api_key:
            yield "api_key", 'missing, but directory.backend is "scim"'
    if directory.base_url:
        yield from _url("base_url", directory.base_url)
    yield from _file("ca_file", directory.ca_file)


def _database(database: DatabaseSettings) -> Iterator[tuple[str, str]]:
    scheme, _, rest = database.url.partition("://")
    form = "must be sqlite:///PATH or postgresql://USER:PASSWORD@HOST/NAME"
    if scheme == "sqlite":
        if not rest.startswith("/") or not rest[1:] or rest[1:].startswith(":memory:"):
            yield "url", form
    elif scheme.split("+")[0] == "postgresql":
        if scheme not in ("postgresql", "postgresql+psycopg"):
            yield "url", "must begin with postgresql://; the driver is psycopg"
        elif not rest.split("?")[0].partition("/")[2]:
            yield "url", form
    else:
        yield "url", form


def _server(server: ServerSettings) -> Iterator[tuple[str, str]]:
    if server.port and server.port == server.admin_port:
        yield "admin_port", "must differ from server.port: the admin pages are not for the internet"
    if server.public_url:
        yield from _url("public_url", server.public_url, loopback_only=False)
    for proxy in server.trusted_proxies:
        try:
            ipaddress.ip_network(proxy)
        except ValueError:
            yield "trusted_proxies", "must be IP addresses or networks such as 10.0.0.0/8"
            return


def _guard(guard: GuardSettings) -> Iterator[tuple[str, str]]:
    for name in ("deactivations", "window", "push"):
        if getattr(guard, f"{name}_floor") > getattr(guard, f"{name}_cap"):
            yield f"{name}_floor", f"must not be more than guard.{name}_cap"


def _notify(notify: NotifySettings) -> Iterator[tuple[str, str]]:
    for key in ("webhook_url", "heartbeat_url"):
        secret: SecretStr | None = getattr(notify, key)
        if secret:
            yield from _url(key, secret.get_secret_value())


def _mapping(mapping: dict[str, str]) -> Iterator[tuple[str, str]]:
    for attribute, path in mapping.items():
        try:
            if path == EMAIL_PATH:
                yield attribute, "the primary e-mail follows the user name and can't be mapped"
            elif path:
                parse(path)
        except UnknownPath:
            yield (
                attribute,
                'is no SCIM path that the agent keeps, such as "title" or "name.givenName"; "" leaves it out',
            )


def _file(key: str, path: str | None) -> Iterator[tuple[str, str]]:
    if path and not Path(path).is_file():
        yield key, "no such file"


def _url(
    key: str, url: str, *, host_only: bool = False, loopback_only: bool = True
) -> Iterator[tuple[str, str]]:
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        host, parts = None, urlsplit("")
    if not host or parts.scheme not in ("http", "https"):
        yield key, "must be an address such as https://host.example.com"
    elif parts.scheme == "http" and loopback_only and not is_loopback(host):
        yield key, "must begin with https://; plain http is for loopback only"
    elif host_only and (parts.path.strip("/") or parts.query or parts.fragment or parts.username):
        yield key, "must be the bare address, with nothing behind the host"


def is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
