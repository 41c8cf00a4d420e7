"""Pairs in plain values: the two sides of one person, made short for the table tests."""

import json
from datetime import UTC, datetime

from agent.model.cases import CurrentAccount, Pair, Want
from agent.model.desired import DesiredRow, Wanted
from agent.model.mapping import Mapping, apply
from agent.model.plan_outline import Outline, outline
from agent.model.usernames import NameRules
from agent.model.users import Origin, Profile, Role, identity_key

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
MAPPING = Mapping()
OKTA_ID = "00u" + "1" * 17
_ALL = (1 << len(MAPPING.paths)) - 1


def _mapped(values: str) -> str:
    """A projection, from values by path."""
    return MAPPING.project(apply(Profile(), json.loads(values)))


def account(
    name: str = "ann@example.com",
    *,
    key: str = "",
    okta_id: str | None = None,
    origin: Origin | None = None,
    email: str | None = None,
    active: bool = True,
    suspended: bool = False,
    owner: bool = False,
    protected: bool = False,
    mapped: str = "{}",
    version: int = 3,
) -> CurrentAccount:
    """Managed when it has an Okta id, local when not, unless said otherwise."""
    return CurrentAccount(
        id=key or f"id-{name}",
        user_name=name,
        user_name_key=identity_key(name),
        email_key=identity_key(email or name),
        okta_id=okta_id,
        origin=origin or (Origin.OKTA if okta_id else Origin.LOCAL),
        protected=protected,
        active=active,
        suspended=suspended,
        role=Role.OWNER if owner else Role.MEMBER,
        mapped=_mapped(mapped),
        version=version,
    )


def want(
    name: str = "ann@example.com",
    wanted: Wanted = Wanted.ACTIVE,
    *,
    okta_id: str = OKTA_ID,
    external_id: str | None = None,
    email: str | None = None,
    mapped: str = "{}",
    cleared: int = 0,
    row: DesiredRow = DesiredRow.LIVE,
    sync_error: bool = False,
) -> Want:
    return Want(
        okta_id=okta_id,
        external_id=external_id,
        user_name=name,
        user_name_key=identity_key(name),
        email=email or name,
        email_key=identity_key(email or name),
        wanted=wanted,
        row=row,
        mapped=_mapped(mapped),
        unsaid=_ALL & ~cleared,
        read_at=NOW,
        sync_error=sync_error,
    )


def join(wants: list[Want], accounts: list[CurrentAccount]) -> list[Pair]:
    """What the compare statement does, for a handful of people."""
    names = [w.user_name_key for w in wants if w.names_somebody]
    return [
        Pair(
            want=w,
            bound=next((a for a in accounts if a.okta_id == w.okta_id), None),
            named=next((a for a in accounts if a.id == w.external_id), None),
            holder=next((a for a in accounts if a.user_name_key == w.user_name_key), None),
            twin=w.names_somebody and names.count(w.user_name_key) > 1,
        )
        for w in wants
    ]


def plan(wants: list[Want], accounts: list[CurrentAccount], rules: NameRules | None = None) -> Outline:
    return outline(join(wants, accounts), [], MAPPING, rules or NameRules())


def short(outlined: Outline) -> list[tuple[str, str, str | None]]:
    """(kind, login, held) of each action, in order."""
    return [(a.kind.value, a.login, a.held.value if a.held else None) for a in outlined.actions]
