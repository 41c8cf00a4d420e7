"""One full listing of the app's users into the staging rows, page by page. Complete, or an error: nothing in between.

The status lists are read first and joined while the pages come; the app is asked once more at the end, since a listing of
an app that went away in between is none. Reads Okta, writes staging rows. Compares nothing.
"""

from collections import Counter
from collections.abc import Callable
from datetime import datetime, timedelta

from msgspec import Struct, field

from agent.model.cases import Want
from agent.model.codes import FindingCode
from agent.model.desired import user_status
from agent.model.errors import Frozen, OktaRejected
from agent.model.okta import AppUser
from agent.model.plan import Finding
from agent.okta_org.org import OktaOrg
from agent.reconcile.projector import Projector
from agent.runs.frame import Progress
from agent.runs.preflight import Binding, usable_app
from agent.store.account import Account
from agent.store.crash_points import crash_point
from agent.store.staging import Staging

#: Statuses that change what is wanted of an assigned person; all others are live. DEPROVISIONED comes by its time.
STATUS_LISTS = ("SUSPENDED", "STAGED", "ACTIVATING")
#: Okta may not know the word; then nobody has it.
_TRANSITIONAL = "ACTIVATING"
#: Deprovisioned people are looked for this far back.
FIRST_LOOK_BACK = timedelta(days=30)
OVERLAP = timedelta(days=1)
#: More findings of one kind than this are only counted.
LISTED_FINDINGS = 10_000


class Sweep(Struct, kw_only=True):
    """What a complete listing was."""

    started: datetime
    people: int = 0
    findings: list[Finding] = []
    counts: Counter[str] = field(default_factory=Counter)
    #: Okta user id → when to look again (pending, syncing).
    due: dict[str, datetime] = {}


class Sweeper(Struct, frozen=True, kw_only=True):
    okta: OktaOrg
    projector: Projector
    page_size: int
    clock: Callable[[], datetime]

    def sweep(self, staging: Staging, account: Account, binding: Binding, progress: Progress) -> Sweep:
        started = self.clock()
        progress.step("reading statuses")
        statuses = self._statuses(account, started)
        found = Sweep(started=started)
        for page in self.okta.app_user_pages(limit=self.page_size):
            staging.add_people(self._rows(page, statuses, found))
            crash_point("sweep.page")
            found.counts["read"] += len(page)
            progress.step(f"reading people{self._budget()}", found.counts["read"])
        if usable_app(self.okta).id != binding.app.id:
            raise Frozen("The app changed while it was listed. Nothing was changed; the next run lists again.")
        found.people = staging.close_people()
        twice = found.counts["read"] - found.people
        if twice:
            detail = f"{twice} people were listed twice: the list changed while it was read"
            found.findings.append(Finding(code=FindingCode.DUPLICATE_LISTED, login="", detail=detail))
        return found

    def _rows(self, page: list[AppUser], statuses: dict[str, str], found: Sweep) -> list[Want]:
        now = self.clock()
        rows: list[Want] = []
        for app_user in page:
            want, desired, finding = self.projector.listed(app_user, statuses, now)
            rows.append(want)
            if finding is not None:
                found.counts[finding.code.value] += 1
                if found.counts[finding.code.value] <= LISTED_FINDINGS:
                    found.findings.append(finding)
            if desired.due is not None:
                found.due[want.okta_id] = desired.due
        return rows

    def _statuses(self, account: Account, now: datetime) -> dict[str, str]:
        found: dict[str, str] = {}
        for status in STATUS_LISTS:
            try:
                for page in self.okta.users_with_status_pages(status):
                    found.update((user.id, user_status(user)) for user in page)
            except OktaRejected:
                if status != _TRANSITIONAL:
                    raise
        since = account.last_good_sweep - OVERLAP if account.last_good_sweep else now - FIRST_LOOK_BACK
        for page in self.okta.users_deprovisioned_since(since):
            found.update((user.id, user_status(user)) for user in page)
        return found

    def _budget(self) -> str:
        """How much of Okta's limit is used, for the progress line."""
        budget = self.okta.budget().get("apps")
        if budget is None or budget.limit is None or budget.remaining is None:
            return ""
        return f" (Okta budget {budget.remaining}/{budget.limit})"
