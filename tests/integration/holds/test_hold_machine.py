"""The register of holds under random sequences of what Okta, its pushes, the agent, operators and the clock do.

Each rule is a whole story in few words: what changes, whether its push comes, and what the agent does then. After each of its
steps: nobody was changed against an open decision, what an operator decided stays, and every decision has its journal row. Of
whom a sweep or a direct read has learnt, also: nobody who is gone is active unless a hold says why, what was approved is done,
and every hold is still wanted.
"""

import itertools
import json
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule, run_state_machine_as_test

from agent.directory import decisions
from agent.model.codes import ActionState, HeldCode
from agent.model.errors import AgentError
from agent.model.guard import Facts
from agent.model.holds import (
    WAITS_FOR_A_PERSON,
    ChangeKind,
    Decision,
    Hold,
    HoldEnd,
    key_of,
    releasable,
    wish_of,
    wishes_between,
)
from agent.model.replay import replay
from agent.model.users import DirectoryUser
from agent.reconcile import RunReport
from agent.runs.stored_plans import PlanDecision
from agent.store import brakes, holds, journal, judgements
from support.databases import sqlite_in
from support.holding import HoldWorld, hold_world
from support.remotes import ours

#: With an account from the start; and people who are in Okta only.
OLD, NEW = 6, 2
#: Low enough that two of a kind are too many. The listing is trusted, however much of it is gone.
TIGHT = {
    "deactivations_percent": 0,
    "deactivations_floor": 1,
    "window_percent": 0,
    "window_floor": 4,
    "push_percent": 0,
    "push_floor": 2,
    "creates_percent": 0,
    "creates_floor": 1,
    "identity_percent": 0,
    "identity_floor": 1,
    "source_drop_floor": 1000,
}
END, BEGIN, LINK, IDENTITY = ChangeKind.DEACTIVATE, ChangeKind.ACTIVATE, ChangeKind.LINK, ChangeKind.IDENTITY
NO = {HeldCode.REJECTED, HeldCode.BLOCKED}
#: Which rows of the journal a decision may have.
VERBS = {
    Decision.APPROVED: {"hold approve", "plan approve", "guard allow"},
    Decision.REJECTED: {"hold reject", "plan reject", "guard reject"},
    Decision.BLOCKED: {"block"},
}

#: The last of the old ones stays as they are, so that somebody is always listed.
one = st.integers(0, OLD + NEW - 2)
#: What a step begins with, as often as it is listed. One rule for all: hypothesis leaves out whole rules of an example.
STEPS = [
    *("switch", "switch", "switch", "rename", "retitle", "late push", "late push", "time"),
    *("reject", "reject", "reject", "lift", "approve", "approve in vain", "allow", "reject plan", "approve plan"),
    *("block", "block for 8 hours", "unblock", "unlink", "link", "amid: block", "amid: reject", "amid: unlink"),
]


class Seen(NamedTuple):
    """One person as OpsHelm and the register have them."""

    user: DirectoryUser | None
    holds: dict[ChangeKind, Hold]


class HoldMachine(RuleBasedStateMachine):
    new_world: Callable[[], AbstractContextManager[HoldWorld]]

    @initialize()
    def open(self) -> None:
        """Three leavers, two with a new name and two joiners, of whom no push came: too many of each, so all of them wait."""
        self.stack = ExitStack()
        self.w = self.stack.enter_context(self.new_world())
        self.w.lost()
        patch = self.stack.enter_context(pytest.MonkeyPatch.context())
        patch.setattr("agent.reconcile.applier.crash_point", self._reached)
        self.amid: Callable[[], None] | None = None
        # The one who stays comes last.
        first, *rest = self.w.people()
        self.people = [*rest, *self._newcomers(), first]
        self.ids: dict[int, str] = {}
        self.assigned = [not person["login"].startswith("new") for person in self.people]
        self.names = [person["login"] for person in self.people]
        self.late: list[tuple[int, str, bool, str]] = []
        self.rows = 0
        self.decided: dict[int, tuple[Any, ...]] = {}
        self.seen = self._look()
        for n, what in enumerate(["switch"] * 3 + ["rename"] * 2 + ["switch"] * 2):
            self._change(n, what)
        self._then("sweep", ())
        assert len(self._open(Decision.WAITING)) == OLD + NEW - 1

    def _newcomers(self) -> Iterable[dict[str, Any]]:
        for number in range(NEW):
            login = f"new{number}@example.com"
            yield {"login": login, "okta_id": self.w.okta_user(login)}

    def teardown(self) -> None:
        if hasattr(self, "stack"):
            self.stack.close()

    @rule(
        what=st.sampled_from(STEPS),
        n=one,
        more=st.integers(0, 2),
        comes=st.sampled_from(["now", "lost", "lost", "late"]),
        how=st.sampled_from(["PATCH", "PUT"]),
        then=st.sampled_from(["sweep", "sweep", "event", "single", "nothing"]),
    )
    def step(self, what: str, n: int, more: int, comes: str, how: str, then: str) -> None:
        """``n`` is whom it is about, with ``more`` beside them; ``then`` is what the agent does after that."""
        who = [(n + beside) % (OLD + NEW - 1) for beside in range(more + 1)]
        if what in ("switch", "rename", "retitle"):
            self._okta_changes(who, what, comes, how)
        elif what == "late push":
            who = self._late_push_comes()
        elif what == "time":
            self.w.ahead += timedelta(hours=(1, 9, 25)[more])
            self._happened("clock", ())
        elif what.endswith("plan"):
            self._of_plan(what)
        elif what.startswith("amid"):
            self._amid_a_sweep(what.removeprefix("amid: "), who)
        elif what in ("reject", "lift", "approve", "approve in vain", "allow"):
            who = self._of_hold(what, n)
        else:
            self._act(what, n)
            self._push(n, how, self.assigned[n], self.names[n])
        self._then(then, who)

    # What Okta, its pushes and the agent do

    def _okta_changes(self, who: list[int], what: str, comes: str, how: str) -> None:
        for n in who:
            self._change(n, what)
            said = (n, how, self.assigned[n], self.names[n])
            if comes == "now":
                self._push(*said)
            elif comes == "late":
                self.late.append(said)

    def _late_push_comes(self) -> list[int]:
        if not self.late:
            return []
        said = self.late.pop(0)
        self._push(*said)
        return [said[0]]

    def _change(self, n: int, what: str) -> None:
        person = self.people[n]
        if what == "switch" or not self.assigned[n]:
            self.assigned[n] = not self.assigned[n]
            if self.assigned[n]:
                self.w.assign(person)
                self.names[n] = person["login"]  # an assignment is new, and knows no other name
            else:
                self.w.unassign(person)
        elif what == "rename":
            stem, _, rest = self.names[n].partition("@")
            self.names[n] = person["login"] if stem.endswith("-two") else f"{stem}-two@{rest}"
            named = {"credentials": {"userName": self.names[n]}, "profile": {"email": self.names[n]}}
            self.w.org.set_app_user(person["okta_id"], **named)
        else:
            self.w.retitle(person, "Mate")

    def _push(self, n: int, how: str, active: bool, name: str) -> None:
        old, person = self.seen[n].user, self.people[n] | {"id": self.ids.get(n)}
        if old is None and not active:
            return  # Okta has nobody there to switch off
        values: dict[str, Any] = {"active": active}
        if active:
            values |= {"userName": name, "emails": [{"value": name, "type": "work", "primary": True}]}
        answer = self.w.push(person, how=how if old is not None else "POST", **values)
        assert answer.status_code < 500, answer.text
        self._happened("push", (n,), said=active)

    def _then(self, then: str, who: Collection[int]) -> None:
        if then == "sweep":
            report = self.w.reconcile()
            assert report.plan is None or report.plan.plan.held is None, report.detail
            self._happened("sweep", range(len(self.people)), report=report)
        elif then in ("event", "single"):
            for n in who:
                person = self.people[n]
                report = self.w.event(person) if then == "event" else self.w.reconcile(person["okta_id"])
                self._happened("single", (n,), report=report)

    # What operators decide

    def _open(self, *decisions: Decision) -> list[Hold]:
        return [hold for seen in self.seen for hold in seen.holds.values() if hold.decision in decisions]

    def _of_hold(self, what: str, n: int) -> list[int]:
        waiting = (Decision.REJECTED,) if what == "lift" else (Decision.WAITING, Decision.APPROVED)
        found = self._open(*waiting)
        if not found:
            return []
        chosen = found[n % len(found)]
        whose = [m for m, seen in enumerate(self.seen) if chosen in seen.holds.values()]
        if what == "reject":
            self.w.store.write(lambda conn: brakes.reject_holds(conn, self.w.by("no"), [chosen]))
        elif what == "lift":
            self.w.store.write(lambda conn: brakes.lift_holds(conn, self.w.by(), [chosen]))
        elif what == "allow" and chosen.kind is END and chosen.directory_id:
            person = self.w.directory.get(chosen.directory_id)
            until = self.w.now() + timedelta(hours=2)
            self.w.store.write(lambda conn: brakes.allow(conn, self.w.by(), count=1, until=until, person=person))
        elif what == "approve in vain" and releasable(chosen.code):
            # Its process ends before it has done anything.
            until = self.w.now() + timedelta(hours=24)
            self.w.store.write(lambda conn: brakes.approve_holds(conn, self.w.by("yes"), [chosen], until))
        elif what == "approve":
            try:
                self.w.reconciler.approve_holds([chosen], self.w.by("yes"), wait=0)
            except AgentError:
                return whose
        self._happened("operator", whose)
        return whose

    def _of_plan(self, what: str) -> None:
        plan = self.w.reconcile(apply=False).plan
        self._happened("dry run", range(len(self.people)))
        if plan is None:
            return
        try:
            if what == "reject plan":
                self.w.store.write(lambda conn: brakes.reject_plan(conn, self.w.by("no"), plan.id))
            else:
                self.w.reconciler.apply_plan(plan.id, plan.checksum, PlanDecision(approve=True), wait=0)
        except AgentError:
            return
        self._happened("plan", ())

    def _act(self, what: str, n: int) -> None:
        user, acts = self.seen[n].user, self.w.acts()
        if user is None:
            return
        try:
            if what == "unblock":
                acts.reactivate(user.id)
            elif what == "unlink":
                acts.unlink(user.id)
            elif what == "link":
                acts.link(user.id, self.people[n]["okta_id"])
            else:
                acts.deactivate(user.id, until=self.w.now() + timedelta(hours=8) if "8" in what else None)
        except AgentError:
            return
        self._happened("operator", (n,))

    def _amid_a_sweep(self, what: str, who: list[int]) -> None:
        """The operator decides after the plan was judged, and before it is carried out."""
        for n in who:
            self._change(n, "switch")
        self.amid = partial(self._of_hold if what == "reject" else self._act, what, who[0])
        self.w.reconcile()
        self.amid = None
        self._happened("sweep", ())

    def _reached(self, place: str) -> None:
        if place == "apply.planned" and self.amid is not None:
            amid, self.amid = self.amid, None
            amid()

    # What must be so

    def _look(self) -> list[Seen]:
        users = {user.id: user for page in self.w.directory.everyone() for user in page}
        bound = {user.okta_id: user for user in users.values() if user.okta_id}
        found = []
        with self.w.store.read() as conn:
            for n, person in enumerate(self.people):
                user = bound.get(person["okta_id"]) or users.get(self.ids.get(n, ""))
                if user is None:
                    mine = holds.of_person(conn, None, person["okta_id"], person["login"])
                else:
                    self.ids[n] = user.id
                    mine = holds.of_user(conn, user)
                found.append(Seen(user, {hold.kind: hold for hold in mine}))
        return found

    def _happened(
        self, by: str, whom: Collection[int], *, said: bool | None = None, report: RunReport | None = None
    ) -> None:
        """``whom``: whom an operator decided about, or of whom Okta's word is known now. ``said``: what a push said."""
        before, self.seen = self.seen, self._look()
        for n, (old, new) in enumerate(zip(before, self.seen, strict=True)):
            another = old.user is not None and new.user is not None and old.user.id != new.user.id
            # Who was unlinked, and has another name by now, has a new account: what was decided is about the old one.
            if not another and (by != "operator" or n not in whom):
                self._no_is_kept(by, n, old, new, said=said if n in whom else None)
        if by in ("sweep", "single", "dry run"):
            for n in whom:
                self._known(n, before[n], report, would_do=by == "dry run")
        if report is not None and report.plan is not None:
            self._plan_says_no(before, report)
        self._journal_is_whole()
        self._replayed_the_same()

    def _no_is_kept(self, by: str, n: int, old: Seen, new: Seen, *, said: bool | None) -> None:
        now, told = self.w.now(), (by, self.people[n]["login"])
        made = wishes_between(old.user, new.user) if new.user is not None and old.user != new.user else {}
        for kind, wish in made.items():
            hold = old.holds.get(kind)
            assert hold is None or not hold.stops(wish, now), (told, hold)
            if by == "single" and hold is not None and hold.code in WAITS_FOR_A_PERSON:
                assert not hold.waits(now), (told, hold)
        for kind, hold in old.holds.items():
            spoken = said is not None and kind is (END if said else BEGIN)
            renamed = kind is IDENTITY and said
            if hold.stops(hold.wish, now) and self._still_wished(n, hold) and not (spoken or renamed):
                left = new.holds.get(kind)
                assert left is not None, (told, hold)
                assert (left.id, left.decision) == (hold.id, hold.decision), (told, hold, left)

    def _still_wished(self, n: int, hold: Hold) -> bool:
        if hold.decision is Decision.BLOCKED:
            return True
        user = self.seen[n].user
        if hold.kind is IDENTITY:
            wished = json.loads(hold.wish).get("userName")
            return self.assigned[n] and user is not None and user.active and wished == self.names[n]
        return hold.kind in self._wanted(n)

    def _wanted(self, n: int) -> set[ChangeKind]:
        """The kinds of change that Okta's word asks for of the account as it is."""
        user, assigned = self.seen[n].user, self.assigned[n]
        if user is None:
            return {BEGIN} if assigned else set()
        if not assigned:
            return {END} if user.active and user.managed else set()
        wanted = {BEGIN} if not user.active else set()
        if not user.managed:
            wanted.add(LINK)
        if user.user_name != self.names[n] or user.profile.primary_email != self.names[n]:
            wanted.add(IDENTITY)
        return wanted

    def _known(self, n: int, old: Seen, report: RunReport | None, *, would_do: bool) -> None:
        """Okta was asked about this person, so what is wanted is known; by a dry run, which doesn't do what isn't held."""
        user, found, told = self.seen[n].user, self.seen[n].holds, self.people[n]["login"]
        if user is not None and user.active and user.managed and not self.assigned[n] and not would_do:
            assert END in found, (told, "gone, active, and nothing says why")
        open_ones = {kind for kind, hold in found.items() if hold.decision is not Decision.BLOCKED}
        assert open_ones <= self._wanted(n), (told, open_ones, self._wanted(n))
        if report is not None and self.amid is None:
            for hold in old.holds.values():
                assert hold.kind not in found or not hold.lets(hold.wish, self.w.now()), (
                    told,
                    "approved, not done",
                    hold,
                )

    def _plan_says_no(self, before: list[Seen], report: RunReport) -> None:
        assert report.plan is not None
        known = {(h.subject, kind): h for seen in before for kind, h in seen.holds.items()}
        for action in report.plan.plan.actions:
            if report.plan.run_id != report.run_id and action.state is ActionState.DONE:
                continue  # the plan of an earlier run, which did it then
            hold = known.get(key_of(action))
            if hold is not None and hold.stops(wish_of(action), self.w.now()):
                # Or it needs a decision of its own, which no approval is.
                assert action.held in NO or (action.held is not None and not releasable(action.held)), (action, hold)

    def _replayed_the_same(self) -> None:
        """By the limits that held, the history holds exactly what was held."""
        with self.w.store.read() as conn:
            found = replay(judgements.history(conn, self.w.now() - timedelta(days=3650)), self.w.settings.guard)
        assert [one for one in found.judgements if one.then != one.now] == []
        assert found.then == found.now

    def _journal_is_whole(self) -> None:
        """Every decision of a hold since the last look has a row that names it."""
        with self.w.store.read() as conn:
            rows = conn.exec_driver_sql(f"SELECT id, verb, directory_id, before FROM journal WHERE id > {self.rows}")
            fresh = [tuple(row) for row in rows]
            found = conn.exec_driver_sql("SELECT id, decision, decided_at, ended, directory_id FROM holds").fetchall()
        named = {(verb, hold) for _, verb, _, before in fresh for hold in _holds_in(before)}
        blocked = {account for _, verb, account, _ in fresh if verb == "block"}
        for hold_id, decision, at, ended, account in found:
            lifted, was = ended == HoldEnd.LIFTED, self.decided.get(hold_id, (None, None))
            if at is not None and at != was[0]:
                by_name = any((verb, hold_id) in named for verb in VERBS[Decision(decision)])
                assert by_name or (decision == Decision.BLOCKED and account in blocked), (hold_id, decision, fresh)
            if lifted and not was[1]:
                assert ("hold lift", hold_id) in named or account in blocked, (hold_id, fresh)
            self.decided[hold_id] = (at, lifted)
        self.rows = max([self.rows, *(row[0] for row in fresh)])


def _holds_in(before: str | None) -> list[int]:
    told = json.loads(before or "{}")
    return [*told.get("holds", []), *([told["hold"]] if "hold" in told else [])]


def check(new_world: Callable[[], AbstractContextManager[HoldWorld]], examples: int, steps: int) -> None:
    machine = type("Machine", (HoldMachine,), {"new_world": staticmethod(new_world)})
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=examples,
            stateful_step_count=steps,
            deadline=None,
            derandomize=True,
            report_multiple_bugs=False,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        ),
    )


def in_folder(folder: Path) -> Callable[[], AbstractContextManager[HoldWorld]]:
    numbers = itertools.count()
    return lambda: hold_world(sqlite_in(folder, f"{next(numbers)}.db"), OLD, guard=TIGHT)


EXAMPLES, STEPS_EACH = 5, 18


def test_whatever_happens_what_was_decided_holds(tmp_path: Path) -> None:
    check(in_folder(tmp_path), EXAMPLES, STEPS_EACH)


@pytest.mark.slow
def test_the_same_at_length(tmp_path: Path) -> None:
    check(in_folder(tmp_path), 60, 30)


@pytest.mark.slow
def test_the_same_on_postgresql(new_postgres: Callable[[], str]) -> None:
    check(lambda: hold_world(new_postgres(), OLD, guard=TIGHT), EXAMPLES, STEPS_EACH)


@pytest.mark.slow
def test_the_same_with_a_remote(tmp_path: Path) -> None:
    numbers = itertools.count()

    @contextmanager
    def new_world() -> Iterator[HoldWorld]:
        folder = tmp_path / str(next(numbers))
        folder.mkdir()
        with ours(folder / "remote") as remote, hold_world(sqlite_in(folder), OLD, remote=remote, guard=TIGHT) as w:
            yield w

    check(new_world, EXAMPLES, STEPS_EACH)


# What finds nothing proves nothing: each of these breaks is found by as many examples as every run of the tests has.


def judge_asks_nobody(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Facts, "hold_of", lambda _facts, _action: None)


def write_asks_nobody(patch: pytest.MonkeyPatch) -> None:
    def check_nothing(scope: Any, before: Any, after: Any) -> decisions.Decided:
        return decisions.Decided(approved=False, mine=holds.of_user(scope.conn, before or after))

    patch.setattr("agent.directory.guarded.decisions.check", check_nothing)


def nobody_asks(patch: pytest.MonkeyPatch) -> None:
    judge_asks_nobody(patch)
    write_asks_nobody(patch)


def a_sweep_drops_rejections(patch: pytest.MonkeyPatch) -> None:
    ends = holds.unwanted

    def unwanted(conn: Any, kept: Any, people: Any, now: Any, **more: Any) -> int:
        rejected = [hold.id for hold in holds.open_holds(conn, decision=Decision.REJECTED)]
        holds.end(conn, rejected, HoldEnd.MOOT, now)
        return ends(conn, kept, people, now, **more)

    patch.setattr(holds, "unwanted", unwanted)


def nothing_is_moot(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(holds, "unwanted", lambda *_, **__: 0)


def a_rejection_leaves_no_row(patch: pytest.MonkeyPatch) -> None:
    append = journal.append

    def all_but(conn: Any, entry: journal.Entry, now: Any) -> None:
        if entry.verb != "hold reject":
            append(conn, entry, now)

    patch.setattr(journal, "append", all_but)


BREAKS = [
    judge_asks_nobody,
    write_asks_nobody,
    nobody_asks,
    a_sweep_drops_rejections,
    nothing_is_moot,
    a_rejection_leaves_no_row,
]


@pytest.mark.slow
@pytest.mark.parametrize("broken", BREAKS)
def test_each_break_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, broken: Callable[[pytest.MonkeyPatch], None]
) -> None:
    broken(monkeypatch)
    with pytest.raises(AssertionError):
        check(in_folder(tmp_path), EXAMPLES, STEPS_EACH)
