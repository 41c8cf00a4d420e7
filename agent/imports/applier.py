"""Carries a stored plan out, account by account: what a new plan would say too is done, the rest is stale.

What an apply that did not end has begun is looked for first: done by now, it is written down; else it goes on.
"""

from collections.abc import Callable, Mapping, Sequence

from agent.directory.port import Directory
from agent.imports.carrier import Carrier, Failed
from agent.imports.planner import AccountActions, decisions_of, groups, moved
from agent.imports.preflight import paused_by
from agent.imports.progress import Progress
from agent.imports.recorder import Keeper
from agent.imports.survey import Assigned, Survey, Surveyor
from agent.model.codes import ActionState
from agent.model.errors import OktaError
from agent.model.matching import Match
from agent.okta_org.org import OktaOrg
from agent.settings import Settings
from agent.store import imports
from agent.store.engine import Store
from agent.store.plans import StoredPlan

#: So many accounts in a row that Okta gave no usable answer for end the run.
_TROUBLES = 3


class ImportApplier:
    """``pause`` waits between two calls for one step."""

    def __init__(
        self,
        store: Store,
        directory: Directory,
        okta: OktaOrg,
        settings: Settings,
        surveyor: Surveyor,
        pause: Callable[[float], None],
    ) -> None:
        self._store, self._directory, self._okta, self._settings = store, directory, okta, settings
        self._surveyor, self._pause = surveyor, pause

    def carry_out(self, stored: StoredPlan, keeper: Keeper, progress: Progress) -> str:
        """Account by account; the reason why it stopped, or ""."""
        todo = [group for group in groups(stored.plan) if not _ended(group)]
        found = _Fresh(self._surveyor.chosen(_only(decisions_of(stored.plan), todo), progress))
        carrier = Carrier(self._okta, keeper, self._settings.imports, pause=self._pause)
        troubles = 0
        for number, group in enumerate(todo, 1):
            paused = paused_by(self._store)
            if paused:
                return paused
            try:
                self._one(group, found, keeper, carrier, named=bool(stored.plan.scope))
                troubles = 0
            except Failed as failed:
                later = [a for a in group.actions if a.n > failed.action.n]
                keeper.ended(later, failed.state, f"action {failed.action.n} before it was not done")
                troubles = troubles + 1 if failed.trouble else 0
                if troubles >= _TROUBLES:
                    raise OktaError(
                        f"{failed.why} So it went {troubles} times in a row; the rest was not tried."
                    ) from failed
            progress.step("accounts brought into Okta", number, len(todo))
        return ""

    def _one(self, group: AccountActions, found: "_Fresh", keeper: Keeper, carrier: Carrier, *, named: bool) -> None:
        match = found.matches.get(group.directory_id)
        if match is None:
            settled = found.assigned.get(group.directory_id)
            okta_id = settled.app_user.id if settled else self._linked(group)
            if okta_id is not None and _under_way(group):
                _settle(group, okta_id, keeper, waits=settled is not None and settled.waits)
            else:
                open_ones = [a for a in group.actions if a.state is not ActionState.DONE]
                keeper.ended(open_ones, ActionState.STALE, _why_not(group, settled, self._directory))
            return
        why = moved(group, match, self._settings, named=named)
        if why:
            keeper.ended([a for a in group.actions if a.state is not ActionState.DONE], ActionState.STALE, why)
            return
        carrier.carry(group, match)

    def _linked(self, group: AccountActions) -> str | None:
        """The Okta user's id, if the account is linked by now."""
        account_ = self._directory.get(group.directory_id)
        if account_ is None or not account_.managed:
            return None
        with self._store.read() as conn:
            row = imports.get(conn, group.directory_id)
        return (row.okta_id if row else None) or account_.okta_id


class _Fresh:
    """A survey by directory id."""

    def __init__(self, survey: Survey) -> None:
        self.matches: dict[str, Match] = {match.account.id: match for match in survey.matches}
        self.assigned: dict[str, Assigned] = {one.account.id: one for one in survey.assigned}


def _ended(group: AccountActions) -> bool:
    return all(a.state not in (ActionState.PENDING, ActionState.SENT) for a in group.actions)


def _under_way(group: AccountActions) -> bool:
    """An apply that did not end had begun with it."""
    return any(a.state in (ActionState.SENT, ActionState.DONE) for a in group.actions)


def _only(decisions: Mapping[str, str], todo: Sequence[AccountActions]) -> dict[str, str]:
    wanted = {group.directory_id for group in todo}
    return {directory_id: decision for directory_id, decision in decisions.items() if directory_id in wanted}


def _settle(group: AccountActions, okta_id: str, keeper: Keeper, *, waits: bool) -> None:
    """The call that was under way has been done."""
    how = "found: done before the import was interrupted"
    if group.create is not None and group.create.state is not ActionState.DONE:
        keeper.created(group.create, okta_id, how=how)
    if group.assign.state is not ActionState.DONE:
        keeper.assigned(group.assign, okta_id, waits=waits, how=how)


def _why_not(group: AccountActions, settled: Assigned | None, directory: Directory) -> str:
    if settled is not None:
        return f"Okta's app has it by now, as the Okta user {settled.app_user.id}"
    found = directory.get(group.directory_id)
    if found is None or found.hidden:
        return "the account is gone from OpsHelm"
    return "the account is inactive by now" if not found.active else "the account is managed by now: it is linked"
