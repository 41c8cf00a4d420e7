"""What must hold between settings, and forms that a type can't say. Takes checked sections, gives problems; no sources."""

import ipaddress
import socket
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from agent.model.paths import EMAIL_PATH, UnknownPath, parse
from agent.settings.sections import (
    DashboardSettings,
    DatabaseSettings,
    DirectorySettings,
    GuardSettings,
    NotifySettings,
    OktaSettings,
    ServerSettings,
)

Inconsistency = tuple[tuple[str, ...], str]
#: Takes one section, gives (key, what is wrong). One thing each: a rule is left out as a whole.
Rule = Callable[[Any], Iterator[tuple[str, str]]]


class _WrongValue(Exception):
    """A rule asked for a value that is wrong in itself."""


class _CheckedSection:
    """A section as a rule sees it."""

    def __init__(self, section: Any, wrong: frozenset[str]) -> None:
        self._section = section
        self._wrong = wrong

    def __getattr__(self, name: str) -> Any:
        if name in self._wrong:
            raise _WrongValue
        return getattr(self._section, name)


def inconsistencies(sections: dict[str, Any], wrong: Mapping[str, frozenset[str]]) -> list[Inconsistency]:
    """``wrong`` names the keys of a section that are no values at all; the section then has their defaults.

    What follows from such a mistake is no second one: a rule that asks for such a key is left out, the others are not.
    """
    found = [
        ((name, key) if key else (name,), message)
        for name, rules in _RULES.items()
        if name in sections
        for rule in rules
        for key, message in _run(rule, sections[name], wrong.get(name, frozenset()))
    ]
    return found + _name_reuse(sections) + _workers(sections)


def _run(rule: Rule, section: Any, wrong: frozenset[str]) -> list[tuple[str, str]]:
    try:
        return list(rule(_CheckedSection(section, wrong) if wrong and not isinstance(section, dict) else section))
    except _WrongValue:
        return []


def _name_reuse(sections: dict[str, Any]) -> list[Inconsistency]:
    directory, policy = sections.get("directory"), sections.get("policy")
    if directory is None or policy is None or directory.backend != "scim" or policy.name_reuse == "hold":
        return []
    message = 'new_account needs directory.backend = "sql": a remote OpsHelm can\'t give an account another id'
    return [(("policy", "name_reuse"), message)]


def _workers(sections: dict[str, Any]) -> list[Inconsistency]:
    directory, server = sections.get("directory"), sections.get("server")
    if directory is None or server is None or directory.backend != "scim" or server.workers == 1:
        return []
    message = 'must be 1 with directory.backend = "scim": a remote OpsHelm is called by one process, at its pace'
    return [(("server", "workers"), message)]


def _okta_without_org(okta: OktaSettings) -> Iterator[tuple[str, str]]:
    given = (key for key in ("app_id", "api_token", "client_id") if getattr(okta, key))
    if not okta.org_url and (key := next(given, None)):
        yield "org_url", f"missing, but okta.{key} is set"


def _okta_org(okta: OktaSettings) -> Iterator[tuple[str, str]]:
    if okta.org_url:
        yield from _url("org_url", okta.org_url, host_only=True)
        if "-admin." in okta.org_url:
            yield "org_url", "must be the org's own address, without -admin"


def _okta_app(okta: OktaSettings) -> Iterator[tuple[str, str]]:
    if okta.org_url and not okta.app_id:
        yield "app_id", "missing; it is the 0oa… in the address of the app's page in Okta's admin console"


def _okta_credentials(okta: OktaSettings) -> Iterator[tuple[str, str]]:
    if okta.org_url and okta.api_token and okta.client_id:
        yield "api_token", "set together with okta.client_id; keep one"
    if okta.org_url and not (okta.api_token or okta.client_id):
        yield "api_token", "missing; set okta.api_token, or okta.client_id with okta.private_key"


def _okta_key(okta: OktaSettings) -> Iterator[tuple[str, str]]:
    if okta.org_url and okta.client_id and not okta.private_key:
        yield "private_key", "missing, but okta.client_id is set"
    if okta.org_url and okta.private_key and not okta.client_id:
        yield "client_id", "missing, but okta.private_key is set"


def _okta_key_form(okta: OktaSettings) -> Iterator[tuple[str, str]]:
    key = okta.private_key.get_secret_value().lstrip() if okta.org_url and okta.private_key else "{"
    if not key.startswith(("-----BEGIN", "{")):
        yield "private_key", "must be a private key as PEM (-----BEGIN …) or JWK ({…})"


def _okta_proxy(okta: OktaSettings) -> Iterator[tuple[str, str]]:
    if okta.org_url and okta.proxy:
        yield from _url("proxy", okta.proxy, loopback_only=False)


def _okta_ca_file(okta: OktaSettings) -> Iterator[tuple[str, str]]:
    yield from _file("ca_file", okta.ca_file if okta.org_url else None)


def _remote(directory: DirectorySettings) -> Iterator[tuple[str, str]]:
    for key in ("base_url", "api_key"):
        if directory.backend == "scim" and not getattr(directory, key):
            yield key, 'missing, but directory.backend is "scim"'


def _remote_address(directory: DirectorySettings) -> Iterator[tuple[str, str]]:
    if directory.base_url:
        wrong = list(_url("base_url", directory.base_url))
        yield from wrong
        parts = urlsplit("" if wrong else directory.base_url)
        if parts.username is not None or parts.query or parts.fragment:
            yield (
                "base_url",
                "must end with its path, without a user, a query or a fragment; the key is directory.api_key",
            )


def _remote_ca_file(directory: DirectorySettings) -> Iterator[tuple[str, str]]:
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
        elif rest.split("?")[0].count("@") > 1:
            # What follows the first one would be taken for the host, and be named in errors.
            yield "url", "an @ in the user or the password is written %40"
        elif not rest.split("?")[0].partition("/")[2]:
            yield "url", form
    else:
        yield "url", form


def _ports(server: ServerSettings) -> Iterator[tuple[str, str]]:
    if server.port and server.port == server.admin_port:
        yield "admin_port", "must differ from server.port: the admin pages are not for the internet"


def _public_url(server: ServerSettings) -> Iterator[tuple[str, str]]:
    if server.public_url:
        yield from _url("public_url", server.public_url, loopback_only=False)


def _proxies(server: ServerSettings) -> Iterator[tuple[str, str]]:
    for proxy in server.trusted_proxies:
        try:
            ipaddress.ip_network(proxy)
        except ValueError:
            yield "trusted_proxies", "must be IP addresses or networks such as 10.0.0.0/8"
            return


def _dashboard_address(dashboard: DashboardSettings) -> Iterator[tuple[str, str]]:
    for key in ("public_url", "issuer"):
        if url := getattr(dashboard, key):
            yield from _url(key, url, host_only=key == "public_url")


def _dashboard_okta(dashboard: DashboardSettings) -> Iterator[tuple[str, str]]:
    roles = ("admins", "operators", "viewers")
    if dashboard.client_id and not any(getattr(dashboard, role) for role in roles):
        yield "admins", "missing, but dashboard.client_id is set: nobody could sign in; so do operators and viewers"
    if not dashboard.client_id and (
        key := next((key for key in (*roles, "client_secret") if getattr(dashboard, key)), None)
    ):
        yield "client_id", f"missing, but dashboard.{key} is set"


def _dashboard_password(dashboard: DashboardSettings) -> Iterator[tuple[str, str]]:
    if dashboard.password_hash and not dashboard.password_hash.get_secret_value().startswith("$argon2id$"):
        yield "password_hash", "must be what opshelm-agent dashboard password prints ($argon2id$…), never a password"


def _notify(notify: NotifySettings) -> Iterator[tuple[str, str]]:
    for key in ("webhook_url", "heartbeat_url"):
        secret = getattr(notify, key)
        if secret and not secret.get_secret_value().startswith(("https://", "http://")):
            yield key, "must begin with https://"
    if notify.webhook_secret and not notify.webhook_url:
        yield "webhook_url", "missing, but notify.webhook_secret is set"
    for key in ("mail_from", "mail_to"):
        if notify.smtp_host and not getattr(notify, key):
            yield key, "missing, but notify.smtp_host is set"
    if notify.mail_to and not notify.smtp_host:
        yield "smtp_host", "missing, but notify.mail_to is set"
    if notify.smtp_password and notify.smtp_tls == "none" and not is_loopback(notify.smtp_host or ""):
        yield "smtp_tls", "none would send notify.smtp_password in the clear; set starttls or tls"
    yield from _file("ca_file", notify.ca_file)


def _limit(name: str) -> Rule:
    def rule(guard: GuardSettings) -> Iterator[tuple[str, str]]:
        if getattr(guard, f"{name}_floor") > getattr(guard, f"{name}_cap"):
            yield f"{name}_floor", f"must not be more than guard.{name}_cap"

    return rule


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


_RULES: dict[str, tuple[Rule, ...]] = {
    "notify": (_notify,),
    "okta": (
        _okta_without_org,
        _okta_org,
        _okta_app,
        _okta_credentials,
        _okta_key,
        _okta_key_form,
        _okta_proxy,
        _okta_ca_file,
    ),
    "directory": (_remote, _remote_address, _remote_ca_file),
    "database": (_database,),
    "server": (_ports, _public_url, _proxies),
    "guard": (_limit("deactivations"), _limit("window"), _limit("push")),
    "mapping": (_mapping,),
    "dashboard": (_dashboard_address, _dashboard_okta, _dashboard_password),
}


def _file(key: str, path: str | None) -> Iterator[tuple[str, str]]:
    if path and not Path(path).is_file():
        yield key, "no such file"


def _url(key: str, url: str, *, host_only: bool = False, loopback_only: bool = True) -> Iterator[tuple[str, str]]:
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        host, parts = None, urlsplit("")
    if not host or parts.scheme not in ("http", "https"):
        yield key, "must be an address such as https://host.example.com"
    elif is_link_local(host):
        yield key, "must not be a link-local address: what answers there is a cloud's metadata service"
    elif parts.scheme == "http" and loopback_only and not is_loopback(host):
        yield key, "must begin with https://; plain http is for loopback only"
    elif host_only and (parts.path.strip("/") or parts.query or parts.fragment or parts.username):
        yield key, "must be the bare address, with nothing behind the host"


def is_link_local(host: str) -> bool:
    """Every way to write such an address; what a name leads to is for TLS to find out, which no metadata service speaks."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        try:
            address = ipaddress.ip_address(socket.inet_aton(host))  # 2852039166, 0xa9fea9fe, 169.16689662
        except OSError:
            return False
    return (getattr(address, "ipv4_mapped", None) or address).is_link_local


def is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
