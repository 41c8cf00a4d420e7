"""Plan review: what is planned, deactivations first, and a person's yes or no to all or some of it."""

from collections import Counter

from starlette.responses import Response
from starlette.routing import Route

from agent.dashboard.desk import EndedWork
from agent.dashboard.site import CHUNK, Site, Visit, named
from agent.model.codes import OPEN_PLANS, UNDECIDED, ActionKind, ActionState, HeldCode
from agent.model.errors import NotFound, UsageError
from agent.model.guard import NEED_COUNT
from agent.model.plan import Action
from agent.reconcile.reconciler import Reconciler
from agent.runs import stored_plans
from agent.runs.frame import Progress
from agent.runs.stored_plans import OPSHELM_S, PlanDecision
from agent.runs.wording import ACTION_FIELDS, action_json, fields, is_bounded, plan_json, sentence
from agent.store import brakes, first_approvals, overview, plans
from agent.store.engine import Connection
from agent.store.overview import Header
from agent.store.plans import ActionFilter, StoredPlan

_PAGE = 50
#: Actions on one page of a plan.
_ACTIONS = 200
_FIELDS = ("id", "run_id", "kind", "status", "held", "actions", "deactivations", "population", "created", "expires")
_SHOWS = {"waits": OPEN_PLANS, "all": ()}


def routes(site: Site) -> list[Route]:
    return [
        *site.page("/plans", list_plans, lists=True),
        *site.page("/plans/{plan_id:int}", show_plan, lists=True),
        *site.act("/plans/{plan_id:int}/approve", approve),
        *site.act("/plans/{plan_id:int}/reject", reject),
    ]


def list_plans(site: Site, visit: Visit) -> Response:
    asked = visit.filters("show")
    statuses = _SHOWS.get(asked["show"] or "all", ())

    def read(conn: Connection, _: int, last: Header | None) -> list[Header]:
        return overview.headers(conn, statuses=statuses, before=last.id if last else None, limit=CHUNK)

    if visit.format != "html":
        return site.listing(visit, "plans", _FIELDS, (fields(plan, *_FIELDS) for plan in site.whole(read)))
    with site.store.read() as conn:
        found = overview.headers(conn, statuses=statuses, before=visit.number_asked("before"), limit=_PAGE + 1)
    older = found[_PAGE - 1].id if len(found) > _PAGE else None
    return site.render(visit, "plans.html", plans=found[:_PAGE], older=older, asked=asked, shows=list(_SHOWS))


def _header(site: Site, plan_id: int) -> tuple[Header, list[plans.Tally]]:
    with site.store.read() as conn:
        found = overview.headers(conn, ids=(plan_id,))
        if not found:
            raise NotFound(f"There is no plan {plan_id} that wants anything.")
        return found[0], plans.tally(conn, plan_id)


def show_plan(site: Site, visit: Visit) -> Response:
    plan_id = visit.number("plan_id")
    if visit.format == "json":
        with site.store.read() as conn:
            return site.json("plan", {"plan": plan_json(stored_plans.existing(conn, plan_id))})
    plan, tallies = _header(site, plan_id)
    if visit.format == "csv":
        every = site.whole(lambda conn, n, _: plans.page_of(conn, plan_id, ActionFilter(), offset=n, limit=CHUNK)[1])
        return site.listing(visit, f"plan-{plan_id}", (*ACTION_FIELDS, "changes"), map(action_json, every))
    asked = visit.filters("kind", "state", "login", "page")
    wanted = ActionFilter(
        kind=named(ActionKind, asked["kind"]), state=named(ActionState, asked["state"]), login=asked["login"]
    )
    with site.store.read() as conn:
        firsts = first_approvals.waiting(conn, f"plan {plan_id} {plan.checksum}", visit.now)
        fits, found = plans.page_of(conn, plan_id, wanted, offset=_ACTIONS * (visit.page - 1), limit=_ACTIONS)
    kinds, states = Counter[ActionKind](), Counter[ActionState]()
    for one in tallies:
        kinds[one.kind] += one.count
        states[one.state] += one.count
    undecided = [one for one in tallies if one.state in UNDECIDED]
    held = Counter[HeldCode]()
    for one in undecided:
        if one.held is not None:
            held[one.held] += one.count
    #: What many have in common is said once.
    why = {action.held: action.held_detail for action in reversed(found) if action.held is not None}
    open_ = plan.status in OPEN_PLANS and plan.expires > visit.now
    return site.render(
        visit,
        "plan.html",
        plan=plan,
        firsts=firsts,
        second=site.settings.dashboard.second_person,
        sentence=sentence(kinds, plan.population, site.settings.guard),
        kinds=kinds,
        states=states,
        held=held,
        why=why,
        actions=found,
        fits=fits,
        page=visit.page,
        pages=-(-fits // _ACTIONS),
        asked=asked,
        open=open_ and plan.kind in OPSHELM_S,
        rejectable=open_,
        whole_count=plan.held in NEED_COUNT,
        leavers=sum(one.count for one in undecided if one.kind is ActionKind.DEACTIVATE),
        undecided=sum(one.count for one in undecided),
        bounded=sum(one.count for one in undecided if is_bounded(one.kind)),
    )


def approve(site: Site, visit: Visit) -> Response:
    """The same as ``plans approve``: read again, plan again, do what both want."""
    plan_id, checksum = visit.number("plan_id"), visit.said("checksum")
    reconciler = need_reconciler(site)
    whole = visit.said("which") == "all"
    only = None if whole else frozenset(visit.chosen("action"))
    if only is not None and not only:
        raise UsageError("No action is ticked. Nothing was changed.")
    stored = stored_plans.usable(site.store, plan_id, OPSHELM_S, visit.now, checksum)
    decision = PlanDecision(approve=True, only=only)
    picked = stored_plans.picked(stored, decision)
    count = typed_count(stored, picked, visit.said("count"))
    if stored.plan.held in NEED_COUNT:
        decision = PlanDecision(approve=True, only=only, count=count)

    by = site.second_person(visit, f"plan {plan_id} {checksum}", [action.n for action in picked])
    if by is None:
        return site.go(f"/plans/{plan_id}")

    def job(progress: Progress) -> EndedWork:
        return EndedWork(report=reconciler.apply_plan(plan_id, checksum, decision, by=by, progress=progress))

    work = site.desk.begin(f"Plan {plan_id}: approve {'all' if whole else len(only or ())}", f"/plans/{plan_id}", job)
    return site.go(f"/work/{work.number}")


def typed_count(stored: StoredPlan, picked: list[Action], typed: str) -> int | None:
    """The number that a person typed, where one is asked for; it has to be the right one."""
    if stored.plan.held in NEED_COUNT:
        wanted, what = sum(is_bounded(a.kind) for a in picked), "links, creates, reactivations and deactivations"
    else:
        wanted, what = sum(a.kind is ActionKind.DEACTIVATE for a in picked), "deactivations"
    if not wanted and not typed:
        return None
    if not typed.isdecimal() or len(typed) > 9 or int(typed) != wanted:
        said = f"you typed {typed}" if typed else "you typed no number"
        raise UsageError(f"What you approve makes {wanted:,} {what}, and {said}. Nothing was changed.")
    return wanted


def need_reconciler(site: Site) -> Reconciler:
    found = site.parts.reconciler
    if found is None:
        raise UsageError("This agent knows no Okta: [okta] is missing in its settings. Nothing was changed.")
    return found


def reject(site: Site, visit: Visit) -> Response:
    """The same as ``plans reject``."""
    plan_id, reason = visit.number("plan_id"), visit.why()
    site.store.write(lambda conn: brakes.reject_plan(conn, visit.by(reason), plan_id))
    return site.go(f"/plans/{plan_id}")
