"""``users`` and ``owner``: the directory's accounts, and what held actions need from a person."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from agent.cli.command import Invocation, group, interactive, now, operator, pass_invocation, require_reason
from agent.cli.people import by_id_option, find

if TYPE_CHECKING:
    from agent.directory.operator import Acts
    from agent.directory.remote.directory import RemoteDirectory
    from agent.directory.sql import SqlDirectory
    from agent.model.users import DirectoryUser

_LOGIN = click.argument("login", metavar="LOGIN")
_REASON = click.option("--reason", required=True, help="Why; kept in the journal.")
_WHY = click.option("--reason", default="", help="Why; kept in the journal.")


@group("users")
def users() -> None:
    """OpsHelm accounts as the agent knows them.

    LOGIN is a userName, or with --id the directory's id.
    """


@users.command(
    "list",
    examples=["opshelm-agent users list", "opshelm-agent users list --local", "opshelm-agent users list --owners"],
)
@click.option("--local", is_flag=True, help="Only accounts that Okta doesn't manage.")
@click.option("--owners", is_flag=True, help="Only owners.")
@click.option("--inactive", is_flag=True, help="Only inactive accounts.")
@pass_invocation
def list_users(invocation: Invocation, local: bool, owners: bool, inactive: bool) -> None:
    """All accounts, in the order in which they came."""
    from agent.cli.render import table
    from agent.model.users import Role

    def wanted(user: "DirectoryUser") -> bool:
        return not ((local and user.managed) or (owners and user.role is not Role.OWNER) or (inactive and user.active))

    with invocation.directory() as directory:
        found = [user for page in directory.everyone() for user in page if wanted(user)]
    columns = ["userName", "state", "role", "managed", "protected", "Okta id", "id"]
    cells = [
        [u.user_name, _state(u), u.role.value, _managed(u), "protected" if u.protected else "", u.okta_id, u.id]
        for u in found
    ]
    invocation.answer(
        "users",
        {"users": [user_json(u) for u in found]},
        lambda: table(columns, cells, "No accounts.", rich=interactive()),
    )


@users.command("show", examples=["opshelm-agent users show ann@example.com", "opshelm-agent users show --id 7f3c…"])
@_LOGIN
@by_id_option
@pass_invocation
def show(invocation: Invocation, login: str, by_id: bool) -> None:
    """One account with all that the directory keeps of it."""
    with invocation.directory() as directory:
        user = find(directory, login, by_id=by_id)
    invocation.answer("user", {"user": user_json(user)}, lambda: user_text(user))


@users.command(
    "add", examples=["opshelm-agent users add ann@example.com --owner", "opshelm-agent users add bob@example.com"]
)
@_LOGIN
@click.option("--owner", is_flag=True, help="With the owner role.")
@_WHY
@pass_invocation
def add(invocation: Invocation, login: str, owner: bool, reason: str) -> None:
    """A local account. Okta's push or a reconcile may link it later; until then nothing of Okta's touches it."""
    _act(invocation, lambda acts: acts.add(login, owner=owner), reason, "Added")


@users.command("role", examples=["opshelm-agent users role ann@example.com owner --reason 'new lead'"])
@_LOGIN
@click.argument("role", type=click.Choice(["owner", "member"]))
@by_id_option
@_WHY
@pass_invocation
def role(invocation: Invocation, login: str, role: str, by_id: bool, reason: str) -> None:
    """Give or take the owner role. SCIM never does. The last active owner keeps it."""
    from agent.model.users import Role

    _act_on(
        invocation,
        login,
        by_id,
        act=lambda acts, user: acts.set_role(user.id, Role(role)),
        reason=reason,
        done="Changed",
    )


@users.command("deactivate", examples=["opshelm-agent users deactivate ann@example.com --reason 'left, never in Okta'"])
@_LOGIN
@by_id_option
@_REASON
@pass_invocation
def deactivate(invocation: Invocation, login: str, by_id: bool, reason: str) -> None:
    """End the access of one account, local ones too; it becomes a member. The last active owner stays."""
    text = require_reason(reason)
    _act_on(invocation, login, by_id, act=lambda acts, user: acts.deactivate(user.id), reason=text, done="Deactivated")


@users.command("link", examples=["opshelm-agent users link ann@example.com --okta-id 00u1abcd2EFGH3ijk4x7"])
@_LOGIN
@click.option("--okta-id", required=True, help="The Okta user's id (00u…).")
@by_id_option
@_WHY
@pass_invocation
def link(invocation: Invocation, login: str, okta_id: str, by_id: bool, reason: str) -> None:
    """Say that this account is that Okta user: Okta manages it from now on. Changes nothing else of it."""
    _act_on(invocation, login, by_id, act=lambda acts, user: acts.link(user.id, okta_id), reason=reason, done="Linked")


@users.command("unlink", examples=["opshelm-agent users unlink ann@example.com --reason 'linked to the wrong person'"])
@_LOGIN
@by_id_option
@_WHY
@pass_invocation
def unlink(invocation: Invocation, login: str, by_id: bool, reason: str) -> None:
    """Make it a local account again; Okta's runs leave it alone from now on."""
    _act_on(invocation, login, by_id, act=lambda acts, user: acts.unlink(user.id), reason=reason, done="Unlinked")


@users.command(
    "release-name", examples=["opshelm-agent users release-name ann@example.com --reason 'new Ann starts Monday'"]
)
@_LOGIN
@by_id_option
@_WHY
@pass_invocation
def release_name(invocation: Invocation, login: str, by_id: bool, reason: str) -> None:
    """Free the userName of an inactive account for somebody new. The old account stays, under another name."""
    _act_on(invocation, login, by_id, act=lambda acts, user: acts.release_name(user.id), reason=reason, done="Renamed")


@users.command("protect", examples=["opshelm-agent users protect breakglass@example.com"])
@_LOGIN
@by_id_option
@_WHY
@pass_invocation
def protect(invocation: Invocation, login: str, by_id: bool, reason: str) -> None:
    """Nothing of Okta's changes this account: pushes get 409, runs report it."""
    _act_on(
        invocation,
        login,
        by_id,
        act=lambda acts, user: acts.protect(user.id, protected=True),
        reason=reason,
        done="Protected",
    )


@users.command(
    "unprotect", examples=["opshelm-agent users unprotect breakglass@example.com --reason 'account retired'"]
)
@_LOGIN
@by_id_option
@_WHY
@pass_invocation
def unprotect(invocation: Invocation, login: str, by_id: bool, reason: str) -> None:
    """Let Okta manage the account again."""
    _act_on(
        invocation,
        login,
        by_id,
        act=lambda acts, user: acts.protect(user.id, protected=False),
        reason=reason,
        done="Unprotected",
    )


@group("owner")
def owner() -> None:
    """Ownership of the OpsHelm account."""


@owner.command(
    "handover",
    examples=["opshelm-agent owner handover --to zoe@example.com --deactivate ann@example.com --reason 'Ann left'"],
)
@click.option("--to", "successor", metavar="LOGIN", required=True, help="Becomes owner.")
@click.option("--deactivate", "leaver", metavar="LOGIN", required=True, help="Is deactivated.")
@_WHY
@pass_invocation
def handover(invocation: Invocation, successor: str, leaver: str, reason: str) -> None:
    """Promote one person and deactivate another in one transaction: how the last owner leaves."""
    with invocation.directory() as directory:
        to, gone = find(directory, successor), find(directory, leaver)
        promoted, ended = _acts(directory, reason.strip()).handover(to.id, gone.id)
    body = {"owner": user_json(promoted), "deactivated": user_json(ended)}
    invocation.answer("handover", body, f"{promoted.user_name} is owner now; {ended.user_name} is deactivated.")


def _acts(directory: "SqlDirectory | RemoteDirectory", reason: str) -> "Acts":
    from agent.bootstrap import operator_acts

    return operator_acts(directory, actor=operator(), reason=reason, now=now())


def _act(invocation: Invocation, act: "Callable[[Acts], DirectoryUser]", reason: str, done: str) -> None:
    with invocation.directory() as directory:
        user = act(_acts(directory, reason.strip()))
    invocation.answer("user", {"user": user_json(user)}, f"{done}: {_line(user)}")


def _act_on(
    invocation: Invocation,
    login: str,
    by_id: bool,
    *,
    act: "Callable[[Acts, DirectoryUser], DirectoryUser]",
    reason: str,
    done: str,
) -> None:
    with invocation.directory() as directory:
        found = find(directory, login, by_id=by_id)
        user = act(_acts(directory, reason.strip()), found)
    invocation.answer("user", {"user": user_json(user)}, f"{done}: {_line(user)}")


def _line(user: "DirectoryUser") -> str:
    return f"{user.user_name} ({_state(user)}, {user.role.value}, {_managed(user)}), id {user.id}"


def _state(user: "DirectoryUser") -> str:
    return "removed" if user.hidden else "active" if user.active else "suspended" if user.suspended else "inactive"


def _managed(user: "DirectoryUser") -> str:
    return "managed" if user.managed else "local"


def user_json(user: "DirectoryUser") -> dict[str, Any]:
    from agent.model.users import public_view

    return {
        "id": user.id,
        "state": _state(user),
        "managed": user.managed,
        "version": user.version,
        "created": user.created,
        "updated": user.updated,
        "deactivated": user.deactivated,
        **public_view(user),
    }


def user_text(user: "DirectoryUser") -> str:
    from agent.cli.render import clean, shown, when

    facts = {
        key: value
        for key, value in user_json(user).items()
        if value not in (None, False, "", [], {}) and key not in ("created", "updated", "deactivated")
    }
    facts |= {"created": when(user.created), "updated": when(user.updated), "deactivated": when(user.deactivated)}
    width = max(map(len, facts))
    return "\n".join(
        f"{key.removeprefix('urn:ietf:params:scim:schemas:extension:'):<{width}}  "
        f"{clean(value) if isinstance(value, str) else shown(value)}"
        for key, value in facts.items()
        if value not in ("", None)
    )
