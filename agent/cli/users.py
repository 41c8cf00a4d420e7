"""``users`` and ``owner``: the directory's accounts, and what an operator does to one of them."""

import re
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import click
from msgspec import Struct

from agent.cli import options
from agent.cli.command import Invocation, group, now, operator, signature
from agent.cli.completion import logins
from agent.cli.people import by_id_option, find
from agent.model.codes import ActionState
from agent.model.csv_text import lines as csv_lines
from agent.model.paths import UnknownPath, parse
from agent.model.times import when
from agent.model.users import DirectoryUser, Name, Role, public_view
from agent.runs.wording import clean, fields, shown

if TYPE_CHECKING:
    from agent.directory.port import Acts, Directory

_LOGIN = click.argument("login", metavar="LOGIN", shell_complete=logins)
#: What is no value of the profile, and the command for it.
_ELSEWHERE = {
    "username": "rename LOGIN NEW",
    "active": "deactivate LOGIN, or reactivate LOGIN",
    "externalid": "link LOGIN",
}
#: Accounts that are read at once.
AT_ONCE = 1000
#: Of users list --csv.
_COLUMNS = (
    *("userName", "state", "role", "managed", "protected", "externalId", "id", "displayName"),
    *("created", "updated", "deactivated"),
)
#: Characters of one value.
_LONGEST = 1000
_KEEPS_IDS = (
    "This OpsHelm is reached over SCIM, which can't give an account another id. If Okta has linked the new person to this one "
    "already, its pushes for them fail from now on: in Okta, unassign them from the app and assign them again."
)


@group("users")
def users() -> None:
    """OpsHelm accounts as the agent knows them.

    LOGIN is a userName, or with --id the directory's id.
    """


@users.command("list", examples=["--search lee", "--local", "--owners", "--managed --inactive --csv > people.csv"])
@click.option("--search", metavar="TEXT", default="", help="A part of the userName or the name; or a whole id.")
@click.option("--managed", "which", flag_value="managed", multiple=True, help="Only accounts that Okta manages.")
@click.option("--local", "which", flag_value="local", multiple=True, help="Only accounts that Okta doesn't manage.")
@click.option("--owners", "which", flag_value="owners", multiple=True, help="Only owners.")
@click.option("--inactive", "which", flag_value="inactive", multiple=True, help="Only inactive accounts.")
@click.option("--held", "which", flag_value="held", multiple=True, help="Only those of whom something is held.")
@click.option("--blocked", "which", flag_value="blocked", multiple=True, help="Only those whom an operator blocks.")
@click.option("--drifted", "which", flag_value="drifted", multiple=True, help="Only those who differ from Okta.")
@click.option("--failed", "which", flag_value="failed", multiple=True, help="Only those of whom something failed.")
@options.as_csv
def list_users(invocation: Invocation, search: str, which: tuple[str, ...], as_csv: bool) -> None:
    """All accounts, or those that all of the options fit, by userName; with --search, whose userName fits first."""
    with invocation.directory() as directory:
        # Makes ``users`` show a remote's accounts as they are now.
        next(iter(directory.everyone()), None)
        pages = _pages(directory, search, which)
        if as_csv:
            lines = ({"displayName": _full_name(u), **user_json(u)} for page in pages for u in page)
            for line in csv_lines(_COLUMNS, lines):
                click.echo(line, nl=False)
            return
        found = [user for page in pages for user in page]
    columns = ["login", "name", "state", "role", "managed"]
    rows = [[u.user_name, _full_name(u), u.state, u.role.value, _managed(u)] for u in found]
    empty = "No such account." if which or search else "No accounts."
    invocation.answer_table("users", {"users": [user_json(u) for u in found]}, columns, rows, empty)


def _pages(directory: "Directory", search: str, which: Sequence[str]) -> Iterator[list[DirectoryUser]]:
    """The database filters and sorts; nobody who doesn't fit is read."""
    from agent.store import people

    wanted, after = [people.Which(one) for one in which], ""
    while True:
        with directory.store.read() as conn:
            page = people.page(conn, also=wanted, search=search, after=after, limit=AT_ONCE)
        yield directory.several([person.id for person in page.people])
        if page.following is None:
            return
        after = page.following


def _full_name(user: DirectoryUser) -> str:
    view = public_view(user)
    name = view.get("name") or {}
    return str(view.get("displayName") or " ".join(filter(None, (name.get("givenName"), name.get("familyName")))))


@users.command("show", examples=["ann@example.com", "--id 7f3c…"])
@_LOGIN
@by_id_option
def show(invocation: Invocation, login: str, by_id: bool) -> None:
    """One account with all that the directory keeps of it."""
    with invocation.directory() as directory:
        user = find(directory, login, by_id=by_id)
    invocation.answer("user", {"user": user_json(user)}, lambda: user_text(user))


@users.command("add", examples=["ann@example.com --owner", "bob@example.com"])
@_LOGIN
@click.option("--owner", is_flag=True, help="With the owner role.")
@click.option("--given-name", metavar="NAME", help="Else taken from LOGIN. Okta's import wants both names.")
@click.option("--family-name", metavar="NAME", help="Else taken from LOGIN.")
@options.reason
def add(
    invocation: Invocation, login: str, owner: bool, given_name: str | None, family_name: str | None, reason: str
) -> None:
    """A local account. Okta's push or a reconcile may link it later; until then nothing of Okta's touches it."""
    name = _name(login, given_name, family_name)
    with invocation.directory() as directory:
        user = _acts(directory, reason).add(login, owner=owner, name=name)
    if not (given_name and family_name):
        invocation.say(
            f"Named {clean(name.given_name or '')} {clean(name.family_name or '')}, as the login has it. Another name: "
            f"opshelm-agent users set {clean(login)} name.givenName=… name.familyName=…"
        )
    _answer(invocation, "Added", user)


def _name(login: str, given: str | None, family: str | None) -> Name:
    """What isn't said is taken from the login: ann.lee@example.com is Ann Lee, ann@example.com Ann Ann."""
    parts = [part.capitalize() for part in re.split(r"[._\-+]+", login.partition("@")[0]) if part] or [login]
    return Name(given_name=given or parts[0], family_name=family or " ".join(parts[1:]) or parts[0])


def _values(pairs: Sequence[str]) -> dict[str, str | None]:
    """``path=value`` each; nothing behind the sign clears the value."""
    values: dict[str, str | None] = {}
    for pair in pairs:
        path, sign, value = pair.partition("=")
        if not sign:
            raise click.UsageError(f"{pair}: write path=value, such as title=Engineer")
        if path.lower() in _ELSEWHERE:
            raise click.UsageError(f"{path} has a command of its own: opshelm-agent users {_ELSEWHERE[path.lower()]}")
        try:
            parse(path)
        except UnknownPath as exc:
            raise click.UsageError(str(exc)) from None
        if len(value) > _LONGEST or not value.isprintable():
            raise click.UsageError(f"{path}: at most {_LONGEST} characters, all of them visible")
        values[path] = value or None
    return values


class AccountCommand(Struct, frozen=True, kw_only=True):
    """``users NAME LOGIN …``: a command that does one thing to one account."""

    name: str
    help: str
    #: What follows ``opshelm-agent users NAME``.
    example: str
    #: Takes the acts, the account's id and the values of ``params``.
    act: "Callable[..., DirectoryUser]"
    #: What the answer begins with; or what makes it from the values of ``params``.
    done: str | Callable[..., str]
    params: Sequence[Callable[..., Any]] = ()
    reason: Callable[..., Any] = options.reason
    #: Asked before it is done, where Okta is set up: what to say besides. Takes the reconciler, the account and the values of
    #: ``params``.
    asks_okta: "Callable[..., str] | None" = None


def _after(_ctx: click.Context, _param: click.Parameter, age: timedelta | None) -> datetime | None:
    return None if age is None else now() + age


def _ended(until: datetime | None) -> str:
    end = f"{when(until)}, or " if until else ""
    return f"Deactivated and blocked until: {end}opshelm-agent users reactivate"


def _add_command(row: AccountCommand) -> None:
    def run(invocation: Invocation, /, login: str, by_id: bool, reason: str, **given: Any) -> None:
        said = ""
        if row.asks_okta is not None:
            with invocation.agent(need_okta=False) as agent:
                if agent.reconciler is not None:
                    said = row.asks_okta(agent.reconciler, find(agent.directory, login, by_id=by_id), **given)
        with invocation.directory() as directory:
            user = row.act(_acts(directory, reason), find(directory, login, by_id=by_id).id, **given)
        _answer(invocation, row.done if isinstance(row.done, str) else row.done(**given), user, said)

    body: Callable[..., None] = run
    for option in (row.reason, by_id_option, *reversed(row.params), _LOGIN):
        body = option(body)
    users.command(row.name, help=row.help, examples=[row.example])(body)


for _row in (
    AccountCommand(
        name="set",
        help="Change values of a local account: path=value, with nothing behind the sign to clear one. Paths are SCIM's, as "
        "users show prints them. What Okta manages is changed in Okta.",
        example="ann@example.com name.familyName=Lee title='Site lead'",
        params=[click.argument("values", metavar="PATH=VALUE…", nargs=-1, required=True)],
        act=lambda acts, user_id, values: acts.set_values(user_id, _values(values)),
        done="Changed",
    ),
    AccountCommand(
        name="rename",
        help="Give a local account another userName; its e-mail goes along where it was the same.",
        example="ann@example.com ann.lee@example.com",
        params=[click.argument("new", metavar="NEW")],
        act=lambda acts, user_id, new: acts.rename(user_id, new),
        done="Renamed",
    ),
    AccountCommand(
        name="role",
        help="Give or take the owner role. Pushes never do; a group of roles.owner takes its people back. The last active owner keeps it.",
        example="ann@example.com owner --reason 'new lead'",
        params=[click.argument("role", type=click.Choice(["owner", "member"]))],
        act=lambda acts, user_id, role: acts.set_role(user_id, Role(role)),
        done="Changed",
    ),
    AccountCommand(
        name="deactivate",
        help="End the access of one account at once, and keep it ended: neither Okta's pushes nor a run give it back before "
        "--until, or users reactivate. It becomes a member. The last active owner stays.",
        example="ann@example.com --reason 'laptop stolen'",
        params=[
            click.option(
                "--until",
                metavar="AGE",
                type=options.DURATION,
                callback=_after,
                help="The block ends after that, as 8h, 7d.",
            )
        ],
        reason=options.required_reason,
        act=lambda acts, user_id, until: acts.deactivate(user_id, until=until),
        done=_ended,
    ),
    AccountCommand(
        name="reactivate",
        help="Give access back to an account that users deactivate has ended, as a member, and end the block. "
        "Whether Okta wants that too, the next run sees.",
        example="ann@example.com --reason 'laptop found'",
        act=lambda acts, user_id: acts.reactivate(user_id),
        done="Reactivated",
    ),
    AccountCommand(
        name="link",
        help="Say that this account is that Okta user, whom Okta is asked for: Okta manages it from now on. Changes nothing else "
        "of it; what Okta wants of it the next run sees.",
        example="ann@example.com --okta-id 00u1abcd2EFGH3ijk4x7",
        params=[click.option("--okta-id", required=True, help="The Okta user's id (00u…).")],
        act=lambda acts, user_id, okta_id: acts.link(user_id, okta_id),
        done="Linked",
        asks_okta=lambda reconciler, user, okta_id: reconciler.named(okta_id, user),
    ),
    AccountCommand(
        name="unlink",
        help="Make it a local account again; neither Okta's pushes nor a run link it, until users link does.",
        example="ann@example.com --reason 'linked to the wrong person'",
        act=lambda acts, user_id: acts.unlink(user_id),
        done="Unlinked",
    ),
    AccountCommand(
        name="protect",
        help="Nothing of Okta's changes this account: pushes get 409, runs report it.",
        example="breakglass@example.com",
        act=lambda acts, user_id: acts.protect(user_id, protected=True),
        done="Protected",
    ),
    AccountCommand(
        name="unprotect",
        help="Let Okta manage the account again.",
        example="breakglass@example.com --reason 'account retired'",
        act=lambda acts, user_id: acts.protect(user_id, protected=False),
        done="Unprotected",
    ),
):
    _add_command(_row)


@users.command("release-name", examples=["ann@example.com --reason 'a new Ann'"])
@_LOGIN
@by_id_option
@options.reason
def release_name(invocation: Invocation, login: str, by_id: bool, reason: str) -> int:
    """Say that somebody else has the userName of this leaver's account now. They get an account of their own.

    The new account has the id that Okta has linked, so Okta's pushes go there. The leaver's account stays as it was when they
    left, under another id and a name that nobody can push to. Who is the same person gets: users link.
    """
    from agent.cli.answers import answer_run
    from agent.store import former_ids

    with invocation.agent(need_okta=False) as agent:
        directory, reconciler = agent.directory, agent.reconciler
        leaver = find(directory, login, by_id=by_id)
        heirs = reconciler.heirs(leaver) if reconciler is not None else ()
        if reconciler is not None and heirs and directory.gives_ids:
            report = reconciler.new_account(leaver, heirs, signature(reason))
            actions = report.plan.plan.actions if report.plan is not None else ()
            undone = {action.directory_id for action in actions if action.state is not ActionState.DONE}
            if report.exit_code == 1 or leaver.id in undone:
                return answer_run(invocation, report, dry=False, detailed=True)
        now_there = directory.get(leaver.id)
        if now_there is not None and now_there.okta_id == leaver.okta_id:
            old = _acts(directory, reason).release_name(leaver.id)
            if reconciler is not None and heirs:
                reconciler.run(apply=True, users=heirs)
        else:
            with directory.store.read() as conn:
                old = find(directory, former_ids.stepped_aside(conn, leaver.id) or "", by_id=True)
        new = next((user for okta_id in heirs if (user := directory.find(okta_id=okta_id))), None)
    said = f"Released: {_line(old)}"
    if new is not None:
        said += f"\nA new account: {_line(new)}"
    if not directory.gives_ids:
        said += f"\n{_KEEPS_IDS}"
    invocation.answer("user", {"user": user_json(old), "newAccount": new and user_json(new)}, said)
    return 0


@group("owner")
def owner() -> None:
    """Ownership of the OpsHelm account."""


@owner.command("handover", examples=["--to zoe@example.com --deactivate ann@example.com --reason 'Ann left'"])
@click.option("--to", "successor", metavar="LOGIN", required=True, help="Becomes owner.")
@click.option("--deactivate", "leaver", metavar="LOGIN", required=True, help="Is deactivated.")
@options.reason
def handover(invocation: Invocation, successor: str, leaver: str, reason: str) -> None:
    """Promote one person and deactivate another in one transaction: how the last owner leaves."""
    with invocation.directory() as directory:
        to, gone = find(directory, successor), find(directory, leaver)
        promoted, ended = _acts(directory, reason).handover(to.id, gone.id)
    body = {"owner": user_json(promoted), "deactivated": user_json(ended)}
    invocation.answer("handover", body, f"{promoted.user_name} is owner now; {ended.user_name} is deactivated.")


def _acts(directory: "Directory", reason: str) -> "Acts":
    return directory.operator(actor=operator(), reason=reason.strip(), now=now())


def _answer(invocation: Invocation, done: str, user: DirectoryUser, said: str = "") -> None:
    body = {"user": user_json(user), **({"note": said} if said else {})}
    invocation.answer("user", body, f"{done}: {_line(user)}" + (f"\n{said}" if said else ""))


def _line(user: DirectoryUser) -> str:
    return f"{user.user_name} ({user.state}, {user.role.value}, {_managed(user)}), id {user.id}"


def _managed(user: DirectoryUser) -> str:
    whose = "managed" if user.managed else "local"
    return f"{whose}, protected" if user.protected else whose


def user_json(user: DirectoryUser) -> dict[str, Any]:
    return {
        "id": user.id,
        "state": user.state,
        **fields(user, "managed", "version", "created", "updated", "deactivated"),
        **public_view(user),
    }


def user_text(user: DirectoryUser) -> str:
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
