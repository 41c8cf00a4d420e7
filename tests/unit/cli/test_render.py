"""Plans as text: deactivations first, before and after, what is held and why, the summary with its denominator."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.cli import render
from agent.model.codes import ActionKind, ActionState, FindingCode, HeldCode, PlanStatus
from agent.model.plan import Action, Change, Finding, Plan
from agent.runs import wording
from agent.settings import GuardSettings
from agent.store.plans import StoredPlan

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


def action(n: int, kind: ActionKind, login: str = "", **fields: object) -> Action:
    return Action(n=n, kind=kind, login=login or f"{kind.value}{n}@example.com", **fields)


def plan(*actions: Action, population: int = 1204, **fields: object) -> Plan:
    return Plan(actions=actions, population=population, source_size=population, created=NOW, **fields)


def stored(wanted: Plan, status: PlanStatus = PlanStatus.READY) -> StoredPlan:
    return StoredPlan(
        id=81, run_id=1, kind="reconcile", status=status, checksum=wanted.checksum, expires=NOW, plan=wanted
    )


def text(wanted: Plan, *, shown: int | None = None) -> str:
    return render.plan_text(stored(wanted), GuardSettings(), render.PlanView(first=shown))


def test_why_a_decided_plan_was_held_is_over() -> None:
    done = action(1, ActionKind.DEACTIVATE, held=HeldCode.DEACTIVATIONS_PER_RUN, state=ActionState.DONE)
    decided = plan(done, held=HeldCode.FIRST_RUN, held_detail="Nothing was changed.")
    said = render.plan_text(stored(decided, PlanStatus.APPLIED), GuardSettings())
    assert "– was held: first_run" in said
    assert "Nothing was changed" not in said
    assert "- deactivate" in said
    assert "deactivations_per_run" not in said


def many(kind: ActionKind, count: int, start: int) -> list[Action]:
    return [action(start + n, kind) for n in range(count)]


def test_the_summary_has_the_denominator_and_the_limit() -> None:
    wanted = plan(*many(ActionKind.CREATE, 3, 1), *many(ActionKind.UPDATE, 12, 10), *many(ActionKind.DEACTIVATE, 4, 30))
    assert (
        wording.summary(wanted, GuardSettings())
        == "3 create, 12 update, 4 deactivate of 1,204 (0.3 %; limit 10 %) – passes"
    )


@pytest.mark.parametrize(
    ("population", "said"), [(12, "3 people"), (50, "10 %"), (5000, "200 people"), (0, "1 person")]
)
def test_where_floor_or_cap_decides_the_limit_is_told_in_people(population: int, said: str) -> None:
    assert f"limit {said})" in wording.summary(plan(population=population), GuardSettings())


def test_deactivations_come_first_and_what_is_held_last() -> None:
    held = action(1, ActionKind.DEACTIVATE, "held@example.com", held=HeldCode.LAST_OWNER)
    wanted = plan(held, action(2, ActionKind.UPDATE), action(3, ActionKind.CREATE), action(4, ActionKind.DEACTIVATE))
    kinds = [(a.kind.value, a.held) for a in wording.ordered(wanted.actions)]
    assert kinds == [("deactivate", None), ("create", None), ("update", None), ("deactivate", HeldCode.LAST_OWNER)]


def test_an_attribute_shows_before_and_after() -> None:
    changes = {"title": Change(before="Engineer", after="Lead"), "nickName": Change(before="Bo", after=None)}
    shown = text(plan(action(1, ActionKind.UPDATE, "bob@example.com", changes=changes)))
    assert "~ update      bob@example.com" in shown
    assert '    title     "Engineer" → "Lead"' in shown
    assert '    nickName  "Bo" → nothing' in shown


def test_a_held_action_says_why_and_its_number() -> None:
    held = action(
        7, ActionKind.DEACTIVATE, "ann@example.com", held=HeldCode.LAST_OWNER, held_detail="the last active owner"
    )
    shown = text(plan(held))
    assert "! deactivate  ann@example.com" in shown
    assert "held last_owner: the last active owner   [action 7]" in shown
    assert "1 held (last_owner), the rest passes" in shown


def test_a_held_run_says_why() -> None:
    shown = text(plan(action(1, ActionKind.CREATE), held=HeldCode.FIRST_RUN, held_detail="Nothing is pinned yet."))
    assert "– held: first_run" in shown
    assert "Held (first_run): Nothing is pinned yet." in shown


@pytest.mark.parametrize("state", [ActionState.FAILED, ActionState.STALE, ActionState.SENT, ActionState.REJECTED])
def test_what_did_not_work_out_is_marked(state: ActionState) -> None:
    shown = text(plan(action(1, ActionKind.UPDATE, state=state, error="it moved")))
    assert state.value in shown.lower()
    assert "it moved" in shown


def test_nothing_to_do_has_its_own_message() -> None:
    assert text(plan()) == "No changes. OpsHelm is as Okta wants it."


def test_a_cut_plan_says_how_much_is_missing_and_where_it_is() -> None:
    shown = text(plan(*many(ActionKind.UPDATE, 5, 1)), shown=2)
    assert "… and 3 more: opshelm-agent plans show 81" in shown


def test_the_checksum_to_approve_stands_below() -> None:
    wanted = plan(action(1, ActionKind.CREATE))
    assert text(wanted).endswith(f"checksum {wanted.checksum}")


@given(st.text())
def test_nothing_from_outside_moves_the_cursor(name: str) -> None:
    shown = text(plan(action(1, ActionKind.UPDATE, f"x{name}", changes={"title": Change(before=name, after=name)})))
    assert all(line.isprintable() for line in shown.split("\n"))
    assert len(shown.split("\n")) == 7


def test_colour_follows_the_symbol_and_nothing_else() -> None:
    painted = render.painted("- deactivate ann\n    title\n+ create bob\n-not an action").split("\n")
    assert [line.startswith("\x1b[") for line in painted] == [True, False, True, False]


def test_json_has_the_documented_fields() -> None:
    change = {"title": Change(before=None, after="Lead")}
    wanted = plan(action(1, ActionKind.UPDATE, "bob@example.com", directory_id="d1", okta_id="00u1", changes=change))
    body = wording.plan_json(stored(wanted))
    assert {"id", "status", "checksum", "population", "actions"} <= body.keys()
    (only,) = body["actions"]
    assert only["changes"] == {"title": {"before": None, "after": "Lead"}}
    assert {"n", "kind", "state", "held", "login", "directory_id", "okta_id", "changes"} <= only.keys()
    finding = Finding(code=FindingCode.PENDING, login="x@example.com", detail="waits")
    assert {"code", "login", "detail"} <= wording.finding_json(finding).keys()


def test_columns_are_aligned_and_an_empty_list_says_why() -> None:
    assert render.table(["id", "name"], [[1, "ann"], [10, None]], "none") == "id  name\n1   ann\n10"
    assert render.table(["id"], [], "No keys.") == "No keys."


def test_too_narrow_means_cards_and_what_can_be_copied_is_never_broken() -> None:
    checksum, login, why = "5f3a" * 16, "ann.a-rather-long-name@subsidiary.example.com", "is the last active owner " * 4
    rows = [[81, checksum, login, why, NOW], [82, checksum, "bob@example.com", "", None]]
    columns = ["plan", "checksum", "login", "why", "since"]
    out = render.table(columns, rows, "", width=80)
    first, second = out.split("\n\n")
    assert f"checksum  {checksum}" in first
    assert f"login     {login}" in first
    assert "since     2026-03-01 12:00:00Z" in first
    assert all(len(line) <= 80 for line in out.split("\n"))
    assert "why" not in second
    assert render.table(columns, rows, "").split("\n")[0].split() == columns
    assert "\n\n" not in render.table(["plan", "login"], [[81, login]], "", width=80)


def test_a_long_value_is_cut_on_a_screen() -> None:
    line = wording.shown("x" * 300_000)
    assert len(line) < 300
    assert "300,002 characters" in line
