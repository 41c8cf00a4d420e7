"""Who may do what in the dashboard, and which connection is local. Pure: takes settings and what was said, gives a role."""

import ipaddress
from collections.abc import Iterable

from starlette.requests import Request

from agent.settings import DashboardSettings, Settings
from agent.store.sessions import DashboardRole, How, Session

#: Whatever sends one of these is, or claims to be, a proxy.
_FORWARDED = ("forwarded", "x-forwarded-for", "x-forwarded-host", "x-real-ip", "via")


def role_by(claims: Iterable[str], settings: DashboardSettings) -> DashboardRole | None:
    """The highest role that the settings give to one of these values of the claim; None: no way in."""
    said = set(claims)
    given = (
        (DashboardRole.ADMIN, settings.admins),
        (DashboardRole.OPERATOR, settings.operators),
        (DashboardRole.VIEWER, settings.viewers),
    )
    return next((role for role, values in given if said & set(values)), None)


def role_of(session: Session, settings: Settings) -> DashboardRole | None:
    """What the settings give this session now. Another one than it has, or none: it has ended."""
    if session.how is How.OKTA:
        return role_by(session.claims, settings.dashboard)
    if session.how is How.PASSWORD and settings.dashboard.password_hash is None:
        return None
    return session.role


def local(request: Request, settings: Settings) -> bool:
    """Whether the connection itself comes from this machine. A proxy's never does, on whatever machine it runs."""
    peer = request.client.host if request.client else ""
    if any(name in request.headers for name in _FORWARDED):
        return False
    try:
        address = ipaddress.ip_address(peer)
    except ValueError:
        return False
    trusted = (ipaddress.ip_network(proxy) for proxy in settings.server.trusted_proxies)
    return address.is_loopback and not any(address in network for network in trusted)
