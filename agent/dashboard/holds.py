"""The register of holds: what waits for a person, by code, and a yes or no to one, some, or all that fit a filter."""

from collections.abc import Mapping, Sequence

from msgspec.structs import replace
from starlette.responses import Response
from starlette.routing import Route

from agent.dashboard.desk import EndedWork
from agent.dashboard.plans import need_reconciler
from agent.dashboard.site import CHUNK, Site, Visit, named
from agent.model.codes import HeldCode
from agent.model.errors import AgentError, NotFound, UsageError
from agent.model.holds import ChangeKind, Decision, Hold, releasable, way_out, without_a_no
from agent.runs.frame import Progress, braked
from agent.runs.wording import fields
from agent.settings.values import parse_duration
from agent.store import account, brakes, first_approvals
from agent.store import holds as register
from agent.store.holds import HoldFilter
from agent.store.journal import Signature

_PAGE = 100
#: Decided at once, at most: each of them is read on both sides first.
_MOST = 5000
_ASKED = ("code", "kind", "decision", "login", "older")
#: Of first approvals.
_SUBJECT = "holds"
#: What is done to holds but for an approval: how the page says it, and what does it.
_ENDS = {"reject": ("rejected", brakes.reject_holds), "lift": ("lifted", brakes.lift_holds)}
_FIELDS = (
    *("id", "directory_id", "okta_id", "login", "kind", "code", "detail", "since", "opened_by", "last_found", "tries"),
    *(
        "plan_id",
        "action_n",
        "decision",
        "decided_at",
        "decided_by",
        "reason",
        "until",
        "ended_at",
        "ended",
        "waits_for",
    ),
)


def routes(site: Site) -> list[Route]:
    return [
        *site.page("/holds", list_holds, lists=True),
        *site.page("/holds/{hold_id:int}", show_hold),
        *site.act("/holds/decide", decide),
    ]


def list_holds(site: Site, visit: Visit) -> Response:
    asked = visit.filters(*_ASKED)
    wanted = _filter(visit, asked)
    if visit.format != "html":
        found = site.whole(lambda conn, count, _: register.matching(conn, wanted, CHUNK, offset=count))
        return site.listing(visit, "holds", _FIELDS, (fields(hold, *_FIELDS) for hold in found))
    with site.store.read() as conn:
        count, groups = register.count(conn, wanted), register.groups(conn)
        brake = braked(account.get(conn))
        firsts = first_approvals.waiting(conn, _SUBJECT, visit.now)
        shown = register.matching(conn, wanted, _PAGE, offset=_PAGE * (visit.page - 1))
    return site.render(
        visit,
        "holds.html",
        holds=[(hold, way_out(hold, brake), releasable(hold.code)) for hold in shown],
        count=count,
        firsts=firsts,
        second=site.settings.dashboard.second_person,
        groups=groups,
        asked=asked,
        page=visit.page,
        pages=-(-count // _PAGE),
        kinds=list(ChangeKind),
        decisions=list(Decision),
    )


def _filter(visit: Visit, asked: Mapping[str, str]) -> HoldFilter:
    older = None
    if asked["older"]:
        try:
            older = visit.now - parse_duration(asked["older"])
        except ValueError as exc:
            raise UsageError(f"{asked['older']}: {exc}") from None
    return HoldFilter(
        code=named(HeldCode, asked["code"]),
        kind=named(ChangeKind, asked["kind"]),
        decision=named(Decision, asked["decision"]),
        login=asked["login"],
        older_than=older,
    )


def show_hold(site: Site, visit: Visit) -> Response:
    with site.store.read() as conn:
        hold = register.one(conn, visit.number("hold_id"))
        brake = braked(account.get(conn))
        others = [one for one in register.history(conn, [hold.person]) if one.id != hold.id]
    return site.render(
        visit, "hold.html", hold=hold, others=others, way=way_out(hold, brake), releasable=releasable(hold.code)
    )


def decide(site: Site, visit: Visit) -> Response:
    """The same as ``holds approve``, ``reject`` and ``lift``: both sides of these people are read again first."""
    what = visit.said("what")
    if what != "approve" and what not in _ENDS:
        raise UsageError("Approve, reject or lift. Nothing was changed.")
    reason = visit.why() if what == "reject" else visit.said("reason")
    wanted = _wanted(visit)
    chosen = _chosen(site, wanted)
    if what == "approve" and not wanted.ids:
        chosen = without_a_no(chosen)
    need_typed(visit, chosen, what)
    by: Signature | None = visit.by()
    if what == "approve":
        by = site.second_person(visit, _SUBJECT, [hold.id for hold in chosen])
    if by is None:
        return site.go("/holds")
    signed = replace(by, reason=reason)

    def job(progress: Progress) -> EndedWork:
        if what == "approve":
            return EndedWork(report=need_reconciler(site).approve_holds(chosen, signed, progress=progress))
        note, fresh = _looked_again(site, chosen, progress)
        word, end = _ENDS[what]
        ended = len(site.store.write(lambda conn: end(conn, signed, fresh)))
        over = f"; {len(chosen) - ended:,} were over before" if ended < len(chosen) else ""
        return EndedWork(said=f"{ended:,} {word}{over}.{f' Okta was not asked again: {note}' if note else ''}")

    people = f"{len(chosen):,} {'hold' if len(chosen) == 1 else 'holds'}"
    work = site.desk.begin(f"{what.capitalize()} {people}", "/holds", job)
    return site.go(f"/work/{work.number}")


def _wanted(visit: Visit) -> HoldFilter:
    """The ticked ones, or all that fit the filter that the page had."""
    if visit.said("which") == "all":
        return _filter(visit, {name: visit.said(f"f_{name}") for name in _ASKED})
    ids = visit.chosen("hold")
    if not ids:
        raise UsageError("Nobody is ticked. Nothing was changed.")
    return HoldFilter(ids=tuple(ids))


def _chosen(site: Site, wanted: HoldFilter) -> list[Hold]:
    with site.store.read() as conn:
        found = register.matching(conn, wanted, _MOST + 1)
    if not found:
        raise NotFound("None of these is open any more. Nothing was changed.")
    if len(found) > _MOST:
        raise UsageError(f"More than {_MOST:,} at once; narrow the filter. Nothing was changed.")
    return found


def need_typed(visit: Visit, chosen: Sequence[Hold], what: str) -> None:
    """Whoever lets deactivations go types how many they are."""
    leavers, typed = sum(hold.kind is ChangeKind.DEACTIVATE for hold in chosen), visit.said("count")
    if what == "approve" and leavers and typed != str(leavers):
        said = f"you typed {typed}" if typed else "you typed no number"
        raise UsageError(f"What you approve makes {leavers:,} deactivations, and {said}. Nothing was changed.")


def _looked_again(site: Site, chosen: Sequence[Hold], progress: Progress) -> tuple[str, list[Hold]]:
    """What is still open of them after a new look at both sides; without Okta as they are, and why it wasn't asked."""
    progress.step("reading both sides again")
    try:
        note = need_reconciler(site).look_again(chosen)
    except AgentError as error:
        note = error.detail
    with site.store.read() as conn:
        fresh = register.matching(conn, HoldFilter(ids=tuple(hold.id for hold in chosen)), _MOST)
    return note, fresh
