"""``holds``: what waits for a person's decision, and deciding it. The register is agent.store.holds."""

from collections import Counter
from collections.abc import Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import click

from agent.cli import completion, options
from agent.cli.command import MANY, Invocation, asked_to_stop, group, now, signature, sure
from agent.cli.render import csv_text
from agent.model.codes import HeldCode
from agent.model.errors import AgentError, NotFound
from agent.model.holds import Decision, Hold, way_out, without_a_no
from agent.model.times import when
from agent.model.users import identity_key
from agent.runs.wording import clean, fields

if TYPE_CHECKING:
    from agent.store.engine import Store

_LOGINS = click.argument("logins", metavar="LOGIN…", nargs=-1, shell_complete=completion.logins)
_CODE = click.option("--code", help="All that wait for this reason, such as deactivations_per_run.")


@group("holds")
def holds() -> None:
    """What waits for a person's decision, and deciding it.

    One line for each person and kind of change. LOGIN is a userName; a directory id or an Okta user id serves too.
    """


@holds.command("list", examples=["", "--code name_reuse", "--csv"])
@_CODE
@click.option("--older", metavar="AGE", type=options.DURATION, help="Only those that wait longer, such as 4h.")
@click.option("--user", metavar="LOGIN", help="Only this person's.")
@options.as_csv
def list_holds(
    invocation: Invocation, code: str | None, older: timedelta | None, user: str | None, as_csv: bool
) -> None:
    """What waits, oldest first; blocks and rejections too."""
    from agent.store import holds as register

    at = now()
    people = [user] if user else None
    found = invocation.read(lambda conn: register.open_holds(conn, code=_code(code), people=people))
    found = [hold for hold in found if older is None or at - hold.since > older]
    if as_csv:
        click.echo(csv_text(_FIELDS, [as_json(hold) for hold in found]))
        return
    columns = ["login", "change", "why", "since", "decision"]
    cells = [[h.login, h.kind.value, h.code.value, when(h.since), h.decision.value] for h in found]
    invocation.answer_table("holds", {"holds": [as_json(h) for h in found]}, columns, cells, "Nothing waits.")


@holds.command("show", examples=["ann@example.com"])
@click.argument("login", metavar="LOGIN", shell_complete=completion.logins)
def show(invocation: Invocation, login: str) -> None:
    """One person's holds, open and ended, and the command that ends what is open."""
    from agent.runs.frame import braked
    from agent.store import account
    from agent.store import holds as register

    with invocation.store() as store, store.read() as conn:
        found, brake = register.history(conn, [login]), braked(account.get(conn))
    if not found:
        raise NotFound(f"Nothing is or was held of {login}. See: opshelm-agent holds list")
    invocation.answer("holds", {"holds": [as_json(h) for h in found]}, "\n\n".join(text(h, brake) for h in found))


@holds.command("approve", examples=["ann@example.com bob@example.com", "--code deactivations_per_run"])
@_LOGINS
@_CODE
@options.reason
@options.yes
def approve(invocation: Invocation, logins: tuple[str, ...], code: str | None, reason: str, *, yes: bool) -> int:
    """Read both sides again, and make the changes that are still wanted; what isn't wanted any more is closed."""
    from agent.cli.answers import answer_run

    with invocation.agent() as agent:
        chosen = _chosen(agent.store, logins, code)
        if not logins:
            found, chosen = chosen, without_a_no(chosen)
            if len(chosen) < len(found):
                invocation.say(
                    f"Rejected earlier, and left so: {len(found) - len(chosen):,}. See: opshelm-agent holds list"
                )
        if len(chosen) > MANY:
            counts = Counter(hold.kind.value for hold in chosen).most_common()
            kinds = ", ".join(f"{count:,} {kind}" for kind, count in counts)
            sure(f"{len(chosen):,} holds are let go, {kinds}. Approve all of them?", yes=yes)
        reconciler = agent.need_reconciler()
        with invocation.progress() as progress, asked_to_stop(agent.ask_to_stop):
            report = reconciler.approve_holds(chosen, signature(reason), progress=progress)
        return answer_run(invocation, report, dry=False, detailed=True)


@holds.command("reject", examples=['ann@example.com --reason "group removed by mistake, being corrected"'])
@_LOGINS
@_CODE
@options.required_reason
def reject(invocation: Invocation, logins: tuple[str, ...], code: str | None, reason: str) -> None:
    """The change is not made, by no path, until Okta wants something else for that person or you lift it."""
    from agent.store import brakes

    by = signature(reason)
    with invocation.store() as store:
        chosen = _fresh(invocation, store, logins, code)
        rejected = store.write(lambda conn: brakes.reject_holds(conn, by, chosen))
    over = sum(hold.decision is not Decision.BLOCKED for hold in chosen) - len(rejected)
    _answer(invocation, rejected, "Rejected", over)


@holds.command("lift", examples=["ann@example.com"])
@_LOGINS
@_CODE
@options.reason
def lift(invocation: Invocation, logins: tuple[str, ...], code: str | None, reason: str) -> None:
    """Forget what was decided. What is still wanted is looked at anew: it is done, or held again if it is still too much."""
    from agent.store import brakes

    by = signature(reason)
    with invocation.store() as store:
        chosen = _fresh(invocation, store, logins, code)
        lifted = store.write(lambda conn: brakes.lift_holds(conn, by, chosen))
    _answer(invocation, lifted, "Lifted", len(chosen) - len(lifted))


def _answer(invocation: Invocation, chosen: "Sequence[Hold]", done: str, over: int) -> None:
    if over > 0:
        invocation.say(f"{over:,} were over before: opshelm-agent holds show LOGIN says how they ended")
    said = "\n".join(f"{done}: {hold.kind.value} of {hold.login} ({hold.code.value})" for hold in chosen)
    invocation.answer("holds", {"holds": [as_json(hold) for hold in chosen]}, said)


def _code(code: str | None) -> "HeldCode | None":
    if code is None:
        return None
    try:
        return HeldCode(code)
    except ValueError:
        raise click.UsageError(f"there is no code {code}. See: opshelm-agent holds list, or docs/codes.md") from None


def _chosen(store: "Store", logins: Sequence[str], code: str | None) -> "list[Hold]":
    """The open holds that were named; NotFound where a name has none."""
    from agent.store import holds as register

    if not logins and code is None:
        raise click.UsageError("name somebody: LOGIN…, or --code CODE")
    with store.read() as conn:
        found = register.open_holds(conn, code=_code(code), people=logins or None)
    named = {name for hold in found for name in (identity_key(hold.login), hold.directory_id, hold.okta_id)}
    missing = [login for login in logins if not named & {login, identity_key(login)}]
    if missing:
        raise NotFound(f"Nothing is held of {', '.join(missing)}. See: opshelm-agent holds list")
    if not found:
        raise NotFound(f"Nothing is held as {code}. See: opshelm-agent holds list")
    return found


def _fresh(invocation: Invocation, store: "Store", logins: Sequence[str], code: str | None) -> "list[Hold]":
    """The same after a new look at both sides, which closes what isn't wanted any more; without Okta as they are."""
    chosen = _chosen(store, logins, code)
    try:
        with invocation.agent() as agent:
            note = agent.need_reconciler().look_again(chosen)
    except AgentError as error:
        note = error.detail
    if note:
        invocation.say(f"Okta was not asked again: {note}")
    return _chosen(store, logins, code)


_FIELDS = (
    *("id", "login", "kind", "code", "detail", "since", "opened_by", "last_found", "tries"),
    *("decision", "decided_at", "decided_by", "reason", "until"),
    *("directory_id", "okta_id", "plan_id", "action_n", "ended", "ended_at", "waits_for"),
)


def as_json(hold: "Hold") -> dict[str, Any]:
    return fields(hold, *_FIELDS)


def text(hold: "Hold", brake: str) -> str:
    """All of one hold for a person, with what ends it."""
    lines = [f"{clean(hold.login)}: {hold.kind.value}, {hold.code.value}", f"  {clean(hold.detail)}"]
    lines.append(f"  since {when(hold.since)} (by {clean(hold.opened_by)}), last found {when(hold.last_found)}")
    if hold.decided_by:
        until = f", until {when(hold.until)}" if hold.until else ""
        why = f": {clean(hold.reason)}" if hold.reason else ""
        lines.append(f"  {hold.decision.value} by {clean(hold.decided_by)} at {when(hold.decided_at)}{until}{why}")
    if hold.ended is None:
        lines.append(f"  To end it: {way_out(hold, brake)}")
    else:
        lines.append(f"  Ended {when(hold.ended_at)}: {hold.ended.value}")
    return "\n".join(lines)
