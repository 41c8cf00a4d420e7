"""The guard on plain values: every hold of its table, at the limit and one over it."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from agent.model.codes import ActionKind, HeldCode
from agent.model.guard import Facts, Grant, exempt, judge, typed
from agent.model.holds import ChangeKind, Decision, Hold, key_of, kind_of, wish_of
from agent.model.paths import EMAIL_PATH
from agent.model.plan import Action, Change, Plan
from agent.settings import GuardSettings

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
FACTS: dict[str, Any] = {"sweep": True, "pinned": True, "managed_active": 100, "active_owners": 2, "now": NOW}
CHANGES = {
    ActionKind.DEACTIVATE: {"active": Change(before=True, after=False)},
    ActionKind.REACTIVATE: {"active": Change(before=False, after=True)},
    ActionKind.CREATE: {"userName": Change(before=None, after="x")},
    ActionKind.UPDATE: {"title": Change(before="a", after="b")},
    ActionKind.LINK: {"externalId": Change(before=None, after="x")},
}


def some(kind: ActionKind, count: int, start: int = 1, **more: Any) -> list[Action]:
    changes = more.get("changes", CHANGES.get(kind, {}))
    return [
        Action(n=n, kind=kind, login=f"p{n}", directory_id=f"id{n}", proof=more.get("proof", "gone"), changes=changes)
        for n in range(start, start + count)
    ]


def judged(
    actions: list[Action],
    population: int = 100,
    people: int = 100,
    grant: Grant | None = None,
    limits: Any = None,
    **facts: Any,
) -> Plan:
    plan = Plan(actions=tuple(actions), population=population, source_size=people, created=NOW)
    return judge(plan, limits or GuardSettings(), Facts(**{**FACTS, **facts}), grant or Grant())


def register(*actions: Action, **values: Any) -> dict[tuple[str, ChangeKind], Hold]:
    """Open holds of these actions, as the store knows them."""
    found = {}
    for action in actions:
        hold = Hold(
            id=action.n,
            directory_id=action.directory_id,
            okta_id=action.okta_id,
            login=action.login,
            kind=kind_of(action),
            code=values.get("code", HeldCode.DEACTIVATIONS_PER_RUN),
            detail="12 of 40 people",
            wish=values.get("wish", wish_of(action)),
            since=NOW,
            opened_by="run 1",
            last_found=NOW,
            decision=values.get("decision", Decision.WAITING),
            decided_by="operator root",
            decided_at=NOW,
            until=values.get("until"),
        )
        found[key_of(action)] = hold
    return found


def holds(plan: Plan) -> dict[str, int]:
    found: dict[str, int] = {}
    for action in plan.actions:
        if action.held:
            found[action.held.value] = found.get(action.held.value, 0) + 1
    return found


@pytest.mark.parametrize(
    ("population", "per_run", "per_hour", "per_day"),
    [
        (1, 1, 1, 1),
        (2, 1, 1, 1),
        (5, 2, 2, 2),
        (12, 3, 3, 5),
        (19, 3, 3, 5),
        (20, 5, 3, 5),
        (50, 5, 5, 10),
        (100, 10, 10, 20),
        (200, 20, 20, 40),
        (1000, 100, 100, 200),
        (5000, 200, 100, 400),
        (20000, 200, 100, 400),
    ],
)
def test_deactivations_pass_up_to_the_worked_values_and_trip_with_one_more(
    population: int, per_run: int, per_hour: int, per_day: int
) -> None:
    def held(count: int, **facts: Any) -> dict[str, int]:
        return holds(judged(some(ActionKind.DEACTIVATE, count), population, **facts))

    assert held(per_run) == {}
    assert held(per_run + 1) == {"deactivations_per_run": per_run + 1}
    assert held(1, day=per_day - 1) == {}
    assert held(1, day=per_day) == {"deactivations_24h": 1}
    assert held(1, sweep=False, hour=per_hour - 1) == {}
    assert held(1, sweep=False, hour=per_hour) == {"push_burst": 1}


def test_only_the_class_is_held_and_the_others_go_on() -> None:
    actions = some(ActionKind.DEACTIVATE, 11) + some(ActionKind.CREATE, 2, 20) + some(ActionKind.UPDATE, 50, 30)
    plan = judged(actions)
    assert (plan.held, holds(plan)) == (None, {"deactivations_per_run": 11})


@pytest.mark.parametrize("kind", [ActionKind.CREATE, ActionKind.REACTIVATE])
def test_creates_and_reactivations_share_a_limit_of_20_or_20_percent(kind: ActionKind) -> None:
    assert holds(judged(some(kind, 20), 50)) == {}
    assert holds(judged(some(kind, 21), 50)) == {"creates_per_run": 21}
    assert holds(judged(some(kind, 200), 1000)) == {}
    assert holds(judged(some(kind, 201), 1000)) == {"creates_per_run": 201}


@pytest.mark.parametrize("path", ["userName", EMAIL_PATH])
def test_identity_changes_have_a_limit_of_3_or_2_percent(path: str) -> None:
    changes = {path: Change(before="a", after="b")}
    assert holds(judged(some(ActionKind.UPDATE, 3, changes=changes), 100)) == {}
    assert holds(judged(some(ActionKind.UPDATE, 4, changes=changes), 100)) == {"identity_changes": 4}
    assert holds(judged(some(ActionKind.UPDATE, 20, changes=changes), 1000)) == {}
    assert holds(judged(some(ActionKind.UPDATE, 21, changes=changes), 1000)) == {"identity_changes": 21}


def test_a_ring_of_renames_weighs_as_much_as_its_members() -> None:
    ring = Action(
        n=1, kind=ActionKind.RENAME_CYCLE, login="a", directory_id="a", cycle=tuple((f"{i}", 1, "x") for i in range(4))
    )
    assert holds(judged([ring])) == {"identity_changes": 1}


def test_an_empty_source_holds_the_run_unless_the_count_is_typed() -> None:
    gone = some(ActionKind.DEACTIVATE, 100)
    assert judged(gone, people=0).held is HeldCode.EMPTY_SOURCE
    assert judged(gone, people=0, grant=typed(allow_empty=99)).held is HeldCode.COUNT_EXCEEDED
    allowed = judged(gone, people=0, grant=typed(allow_empty=100), last_good_people=100)
    assert (allowed.held, holds(allowed)) == (None, {})


def test_an_empty_source_is_no_wonder_while_nobody_is_managed() -> None:
    assert judged([], people=0, managed_active=0).held is None


def test_a_source_that_lost_over_20_percent_and_over_5_people_holds_the_run() -> None:
    assert judged([], people=80, last_good_people=100).held is None
    assert judged([], people=79, last_good_people=100).held is HeldCode.SOURCE_DROP
    assert judged([], people=5, last_good_people=10).held is None
    assert judged([], people=4, last_good_people=10).held is HeldCode.SOURCE_DROP


def test_nothing_is_applied_before_the_pins_exist_and_the_count_lifts_it() -> None:
    actions = some(ActionKind.CREATE, 40) + some(ActionKind.DEACTIVATE, 40, 100) + some(ActionKind.UPDATE, 40, 200)
    assert judged(actions, pinned=False).held is HeldCode.FIRST_RUN
    assert "40 create, 40 deactivate" in judged(actions, pinned=False).held_detail
    assert judged(actions, pinned=False, grant=typed(first_run=79)).held is HeldCode.COUNT_EXCEEDED
    lifted = judged(actions, pinned=False, grant=typed(first_run=80))
    assert (lifted.held, holds(lifted)) == (None, {})
    assert judged([], pinned=False).held is None


def test_a_typed_count_is_not_spent_on_what_is_held_anyway() -> None:
    held = [Action(n=9, kind=ActionKind.LINK, login="z", directory_id="z", held=HeldCode.LINK_NEEDS_DECISION)]
    assert judged(some(ActionKind.CREATE, 3) + held, pinned=False, grant=typed(first_run=3)).held is None


def test_a_single_reconcile_before_the_pins_is_held_whatever_is_typed() -> None:
    assert judged(some(ActionKind.UPDATE, 1), sweep=False, pinned=False).held is HeldCode.FIRST_RUN


def test_a_single_reconcile_knows_no_limit_per_run_and_no_empty_source() -> None:
    plan = judged(some(ActionKind.DEACTIVATE, 11) + some(ActionKind.CREATE, 30, 50), 200, people=0, sweep=False)
    assert (plan.held, holds(plan)) == (None, {})


def test_disproved_absences_hold_the_run_and_no_count_lifts_it() -> None:
    assert judged([], asked=50, disproved=5).held is None
    assert judged([], asked=49, disproved=5).held is HeldCode.ABSENCE_DISPROVED
    assert judged([], asked=10, disproved=4).held is None
    assert (
        judged([], asked=49, disproved=5, grant=typed(allow_empty=99, first_run=99)).held is HeldCode.ABSENCE_DISPROVED
    )


def test_a_restored_copy_is_not_trusted() -> None:
    assert judged([], distrust="This database is a restored copy.").held is HeldCode.DISTRUST


def test_too_many_failures_hold_their_kind_in_a_sweep_and_nothing_else() -> None:
    actions = [*some(ActionKind.UPDATE, 2), *some(ActionKind.DEACTIVATE, 1, start=3)]
    quarantine = {ChangeKind.UPDATE: "25 of 40 failed."}
    assert [a.held for a in judged(actions, quarantine=quarantine).actions] == [*[HeldCode.FAILED_ACTIONS] * 2, None]
    assert holds(judged(actions, quarantine=quarantine, sweep=False)) == {}


def test_whose_update_failed_lately_is_still_deactivated() -> None:
    actions = [*some(ActionKind.UPDATE, 2), *some(ActionKind.DEACTIVATE, 1)]
    plan = judged(actions, failing={("id1", ChangeKind.UPDATE): "until 12:10"})
    assert [a.held for a in plan.actions] == [HeldCode.FAILING, None, None]


def test_a_push_that_got_429_is_not_carried_out_by_the_next_sweep_while_the_window_is_full() -> None:
    leavers = some(ActionKind.DEACTIVATE, 2)
    refused = register(leavers[0], code=HeldCode.PUSH_BURST)
    full = judged(leavers, hour=10, holds=refused)
    assert [a.held for a in full.actions] == [HeldCode.PUSH_BURST, None]
    assert holds(judged(leavers, hour=9, holds=refused)) == {}
    assert holds(judged(leavers, hour=10, holds=refused, announced=1)) == {}
    assert holds(judged(leavers, hour=10, holds=refused, announced_for=frozenset({"id1"}))) == {}
    assert holds(judged(leavers, hour=10, holds=refused, limits=GuardSettings(push_mode="alarm"))) == {}


def test_what_waits_for_a_person_waits_in_a_single_look_too_but_not_in_a_sweep_that_fits_its_limits() -> None:
    leavers = some(ActionKind.DEACTIVATE, 2)
    waiting = register(leavers[0])
    single = judged(leavers, sweep=False, holds=waiting)
    assert [a.held for a in single.actions] == [HeldCode.DEACTIVATIONS_PER_RUN, None]
    assert "waits for a person since 2026-03-01 12:00:00Z" in single.actions[0].held_detail
    assert holds(judged(leavers, holds=waiting)) == {}
    other_kind = register(leavers[0])
    renames = some(ActionKind.UPDATE, 1)
    assert holds(judged(renames, sweep=False, holds=other_kind)) == {}


def test_a_rejection_holds_on_every_path_even_when_the_plan_is_approved() -> None:
    [action] = some(ActionKind.DEACTIVATE, 1)
    no = register(action, decision=Decision.REJECTED)
    for sweep in (True, False):
        grant = Grant(approved=frozenset({action.identity}))
        plan = judged([action], holds=no, grant=grant, sweep=sweep)
        assert holds(plan) == {"rejected": 1}
        assert "opshelm-agent holds lift p1" in plan.actions[0].held_detail


def test_a_rejection_of_one_name_does_not_hold_another() -> None:
    [action] = some(ActionKind.UPDATE, 1, changes={"userName": Change(before="a", after="b")})
    no = register(action, decision=Decision.REJECTED, wish='{"userName":"c"}')
    assert holds(judged([action], holds=no)) == {}


def test_a_block_holds_until_its_time_is_over() -> None:
    [action] = some(ActionKind.REACTIVATE, 1)
    block = register(action, decision=Decision.BLOCKED, code=HeldCode.BLOCKED, wish="", until=NOW)
    assert holds(judged([action], holds=block)) == {}
    block = register(action, decision=Decision.BLOCKED, code=HeldCode.BLOCKED, wish="")
    assert holds(judged([action], holds=block)) == {"blocked": 1}


def test_what_the_register_approves_passes_its_class_until_the_approval_lapses() -> None:
    leavers = some(ActionKind.DEACTIVATE, 11)
    later = NOW + timedelta(hours=1)
    yes = register(*leavers, decision=Decision.APPROVED, until=later)
    assert holds(judged(leavers, holds=yes)) == {}
    assert exempt(leavers[0], Grant(), Facts(**{**FACTS, "holds": yes}))
    assert holds(judged(leavers, holds=yes, now=later)) == {"deactivations_per_run": 11}


def test_of_two_last_owners_in_one_plan_the_later_is_held() -> None:
    plan = judged(some(ActionKind.DEACTIVATE, 2), owners=frozenset({"id1", "id2"}), active_owners=2)
    assert [a.held for a in plan.actions] == [None, HeldCode.LAST_OWNER]


def test_announced_deactivations_do_not_count() -> None:
    leavers = some(ActionKind.DEACTIVATE, 15)
    assert holds(judged(leavers, announced=5)) == {}
    assert holds(judged(leavers, announced=4)) == {"deactivations_per_run": 15}
    assert holds(judged(leavers, announced_for=frozenset({f"id{n}" for n in range(1, 6)}))) == {}


def test_what_is_approved_passes_its_class_and_does_not_fill_the_windows() -> None:
    leavers = some(ActionKind.DEACTIVATE, 11)
    grant = Grant(approved=frozenset(a.identity for a in leavers[:3]))
    plan = judged(leavers, grant=grant, limits=GuardSettings(deactivations_percent=0, deactivations_floor=1))
    assert [a.held is None for a in plan.actions] == [True] * 3 + [False] * 8
    facts = Facts(**FACTS)
    assert exempt(plan.actions[0], grant, facts)
    assert not exempt(plan.actions[5], grant, facts)
    assert exempt(plan.actions[5], typed(first_run=20), facts)


def test_an_owners_identity_is_lifted_only_one_by_one() -> None:
    [action] = some(ActionKind.UPDATE, 1, changes={"userName": Change(before="a", after="b")})
    held = Action(**{**{f: getattr(action, f) for f in action.__struct_fields__}, "held": HeldCode.OWNER_IDENTITY})
    assert holds(judged([held], grant=Grant(approved=frozenset({held.identity})))) == {"owner_identity": 1}
    assert (
        holds(judged([held], grant=Grant(named=frozenset({held.identity}), approved=frozenset({held.identity})))) == {}
    )


def test_what_needs_a_held_action_is_held_with_it() -> None:
    actions = some(ActionKind.UPDATE, 5, changes={"userName": Change(before="a", after="b")})
    after = Action(n=9, kind=ActionKind.CREATE, login="new", needs=(2,))
    plan = judged([*actions, after], 100)
    assert plan.actions[-1].held is HeldCode.IDENTITY_CHANGES
    assert "waits for action 2" in plan.actions[-1].held_detail


def test_details_say_numbers_and_effect() -> None:
    detail = judged(some(ActionKind.DEACTIVATE, 12), 40).actions[0].held_detail
    assert detail == (
        "12 of 40 people (30.0%) would be deactivated; the limit of one run is 5. None of them was changed."
    )


def test_nobody_is_deactivated_unproven() -> None:
    assert holds(judged(some(ActionKind.DEACTIVATE, 1, proof=None))) == {"absence_not_provable": 1}
