"""The page of the import: accounts by class with the reason, confirmed as a class or one by one, and carried out as a plan."""

from collections import Counter
from typing import Any

from starlette.responses import Response
from starlette.routing import Route

from agent.dashboard.import_desk import AccountToImport, ImportDesk, Review, choice_of
from agent.dashboard.site import Site, Visit, named
from agent.imports.survey import COLUMNS
from agent.model.codes import OPEN_PLANS
from agent.model.errors import UsageError
from agent.model.matching import MatchClass
from agent.runs.stored_plans import PlanKind
from agent.runs.wording import counted, fields
from agent.store import first_approvals, plans
from agent.store.plans import StoredPlan

_PAGE = 50


def routes(site: Site, desk: ImportDesk) -> list[Route]:
    page = _Import(desk)
    return [
        *site.page("/imports", page.review, lists=True),
        *site.act("/imports/look", page.look),
        *site.act("/imports/plan", page.plan),
        *site.act("/imports/apply", page.apply),
    ]


class _Import:
    def __init__(self, desk: ImportDesk) -> None:
        self._desk = desk

    def review(self, site: Site, visit: Visit) -> Response:
        review, kind = self._desk.review, named(MatchClass, visit.asked("class")) or MatchClass.EXACT
        if visit.format != "html":
            rows = map(_row, review.accounts if review else ())
            return site.listing(visit, "imports", COLUMNS, rows)
        after = visit.asked("after")
        accounts, following = _page(review, kind, after)
        plan = _open_plan(site, visit)
        firsts = []
        if plan is not None:
            with site.store.read() as conn:
                firsts = first_approvals.waiting(conn, _subject(plan), visit.now)
        return site.render(
            visit,
            "imports.html",
            review=review,
            kind=kind,
            counts=review.counts() if review else {},
            accounts=accounts,
            after=after,
            following=following,
            work=self._desk.work,
            busy=self._desk.busy,
            plan=plan,
            plan_says=_says(plan) if plan else "",
            firsts=firsts,
            second=site.settings.dashboard.second_person,
            begun=self._desk.begun,
        )

    def look(self, site: Site, visit: Visit) -> Response:  # noqa: ARG002 - a view's signature
        self._desk.look()
        return site.go("/imports")

    def plan(self, site: Site, visit: Visit) -> Response:
        kind, shown = named(MatchClass, visit.said("class")), visit.said("shown")
        if kind is MatchClass.PARTIAL:
            raise UsageError("Of a partial match a person says who it is, account by account. Nothing was done.")
        accounts = [
            (account, visit.said(f"who {account}") if shown == MatchClass.PARTIAL else "")
            for account in visit.form.get("account", ())
        ]
        self._desk.plan(choice_of(kind, accounts), visit.by())
        return site.go("/imports", **{"class": kind.value if kind else shown})

    def apply(self, site: Site, visit: Visit) -> Response:
        numbers = visit.chosen("plan")
        if not numbers:
            raise UsageError("The form names no plan. Nothing was done.")
        plan = _open_plan(site, visit)
        if plan is None or plan.id != numbers[0]:
            raise UsageError(f"Plan {numbers[0]} waits for nobody any more. Nothing was done.")
        by = site.second_person(visit, _subject(plan), [action.n for action in plan.plan.actions])
        if by is not None:
            self._desk.apply(plan.id, by)
        return site.go("/imports")


def _page(review: Review | None, kind: MatchClass, after: str) -> tuple[list[AccountToImport], str]:
    """One page behind that login, and the login that the next one begins behind."""
    left = [account for account in review.of(kind) if account.login > after] if review else []
    return left[:_PAGE], left[_PAGE - 1].login if len(left) > _PAGE else ""


def _open_plan(site: Site, visit: Visit) -> StoredPlan | None:
    """The newest import's plan, where it still waits to be carried out."""
    with site.store.read() as conn:
        newest = plans.recent(conn, 1, kind=PlanKind.IMPORT)
    open_ones = [plan for plan in newest if plan.status in OPEN_PLANS]
    return next((plan for plan in open_ones if plan.expires > visit.now), None)


def _subject(plan: StoredPlan) -> str:
    return f"plan {plan.id} {plan.plan.checksum}"


def _says(stored: StoredPlan) -> str:
    words = {"okta_create": "to create", "okta_assign": "to assign"}
    return counted(Counter("held" if action.held else words[action.kind] for action in stored.plan.actions))


def _row(account: AccountToImport) -> dict[str, Any]:
    okta = account.candidates[0] if account.candidates and account.kind is not MatchClass.NONE else None
    return {
        "login": account.login,
        "class": account.kind.value,
        **fields(account, "apart", "held", "reason", "held_detail"),
        **{f"okta_{name}": getattr(okta, name, "") for name in ("id", "login", "status")},
        "directory_id": account.directory_id,
    }
