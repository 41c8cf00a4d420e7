"""``journal list``, ``runs show``, ``plans show``, ``users list``: finding one thing among many."""

import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from agent.cli import journal, users
from agent.model.codes import ActionKind, ActionState, HeldCode, PlanStatus
from agent.model.plan import Action, Change, Plan
from agent.settings import DatabaseSettings
from agent.store import plans, runs
from agent.store.engine import Store
from agent.store.plans import StoredPlan
from agent.store.runs import RunRequest

Command = Callable[..., tuple[int, str, str]]
Document = Callable[..., Any]


@pytest.fixture
def store(folder: Path) -> Iterator[Store]:
    opened = Store.open(DatabaseSettings(url=f"sqlite:///{folder}/opshelm-agent.db"))
    yield opened
    opened.close()


@pytest.fixture
def people(document: Document) -> None:
    for login in ("ann@example.com", "bob@example.com"):
        document("users", "add", login)
    document("users", "link", "bob@example.com", "--okta-id", "00u1")
    document("users", "deactivate", "bob@example.com", "--reason", "left")


@pytest.fixture
def plan_id(store: Store) -> int:
    changes = {"title": Change(before="Engineer", after="Lead"), "nickName": Change(before=None, after="Bo")}
    actions = (
        Action(n=1, kind=ActionKind.CREATE, login="new@example.com", changes={"title": Change(before=None, after="x")}),
        Action(n=2, kind=ActionKind.UPDATE, login="bob@example.com", changes=changes),
        Action(n=3, kind=ActionKind.UPDATE, login="zoe@example.com", changes={"active": Change(before=1, after=0)}),
        Action(n=4, kind=ActionKind.DEACTIVATE, login="ann@example.com", held=HeldCode.LAST_OWNER),
    )
    plan = Plan(actions=actions, population=10, source_size=9, created=datetime.now(UTC))

    def work(conn: Any) -> int:
        at = plan.created
        run = runs.start(conn, RunRequest(kind="sweep", trigger="cli", actor="test", dry=True), at)
        expires = at + timedelta(days=1)
        return plans.save(conn, run_id=run, kind="reconcile", plan=plan, expires=expires, status=PlanStatus.HELD).id

    return store.write(work)


@pytest.mark.usefixtures("people")
@pytest.mark.parametrize(
    ("options", "wanted"),
    [
        (
            ["--user", "bob@example.com"],
            ["create bob@example.com", "link bob@example.com", "block bob@example.com", "deactivate bob@example.com"],
        ),
        (["--verb", "deactivate"], ["deactivate bob@example.com"]),
        (["--actor", "nobody"], []),
        (["--kind", "refused"], []),
        (["--since", "1h", "--limit", "1"], ["deactivate bob@example.com"]),
        (["--since", "2999-01-01T00:00"], []),
    ],
)
def test_journal_rows_are_found_by_what_is_known_of_them(
    document: Document, options: list[str], wanted: list[str]
) -> None:
    rows = document("journal", "list", *options)["rows"]
    assert [f"{row['verb']} {row['login']}" for row in rows] == wanted


def test_a_time_that_is_none_is_a_usage_error(command: Command) -> None:
    code, _, err = command("journal", "list", "--since", "yesterday")
    assert code == 2
    assert "write 2h, 7d or 2026-03-01T08:00" in err


@pytest.mark.usefixtures("people")
def test_following_shows_what_comes(command: Command, monkeypatch: pytest.MonkeyPatch, store: Store) -> None:
    from agent.cli.command import signature
    from agent.store import brakes

    waits = iter([lambda: store.write(lambda conn: brakes.pause(conn, signature("tonight"))), None])

    def wait(_seconds: float) -> None:
        act = next(waits)
        if act is None:
            raise KeyboardInterrupt
        act()

    monkeypatch.setattr(journal.time, "sleep", wait)
    code, out, _ = command("journal", "list", "--follow")
    assert code == 130
    assert "deactivate  bob@example.com  by operator" in out
    assert out.splitlines()[-1].endswith("tonight")


def test_a_run_leads_to_its_plan_and_its_people(command: Command, document: Document, plan_id: int) -> None:
    out = command("runs", "show", "1")[1]
    assert f"opshelm-agent plans show {plan_id}" in out
    assert "+ create      new@example.com  pending" in out
    assert "opshelm-agent explain LOGIN" in out
    (plan,) = document("runs", "show", "1")["plans"]
    assert [one["login"] for one in plan["people"]] == [
        "new@example.com",
        "bob@example.com",
        "zoe@example.com",
        "ann@example.com",
    ]


def test_a_long_plan_is_read_bit_by_bit(command: Command, document: Document, plan_id: int) -> None:
    def shown(*options: str) -> str:
        return command("plans", "show", str(plan_id), *options)[1]

    assert "title" not in shown("--only", "create")
    assert "title" in shown("--only", "create", "--verbose")
    only = shown("--only", "deactivate")
    assert "ann@example.com" in only
    assert "bob@example.com" not in only
    assert "(3 other actions are not shown)" in only
    title = shown("--attribute", "TITLE")
    assert '"Engineer" → "Lead"' in title
    assert "nickName" not in title
    assert "zoe@example.com" not in title
    summary = shown("--summary")
    assert "~ update" in summary
    assert "! held last_owner" in summary
    assert "title: 1" in summary
    assert "@" not in summary
    found = document("plans", "show", str(plan_id), "--only", "update")["plan"]
    assert [one["n"] for one in found["actions"]] == [2, 3]
    assert found["counts"] == {"create": 1, "update": 2, "deactivate": 1}


def _held(store: Store, *actions: Action, held: HeldCode | None = None) -> StoredPlan:
    made = Plan(actions=actions, population=4, source_size=2, created=datetime.now(UTC), held=held)

    def work(conn: Any) -> StoredPlan:
        run = runs.start(conn, RunRequest(kind="sweep", trigger="cli", actor="test", dry=False), made.created)
        expires = made.created + timedelta(days=1)
        return plans.save(conn, run_id=run, kind="reconcile", plan=made, expires=expires, status=PlanStatus.HELD)

    return store.write(work)


def _leaver(n: int, held: HeldCode, state: ActionState = ActionState.HELD) -> Action:
    return Action(n=n, kind=ActionKind.DEACTIVATE, login=f"{n}@example.com", held=held, state=state)


def test_a_held_plan_ends_with_what_may_be_said_to_it(command: Command, store: Store) -> None:
    plan = _held(store, *(_leaver(n, HeldCode.DEACTIVATIONS_PER_RUN) for n in (1, 2)))
    said = command("plans", "show", str(plan.id), "--summary")[1]
    assert f"Approve what is held: opshelm-agent plans approve {plan.id} --checksum {plan.checksum[:12]}" in said
    assert "Not meant? Put it right in Okta" in said
    assert command("pause", "--reason", "look")[0] == 0
    assert "plans approve" not in command("plans", "show", str(plan.id))[1]


def test_nobody_is_told_to_approve_where_only_a_no_is_left_but_of_a_held_listing(
    command: Command, store: Store
) -> None:
    done = _leaver(1, HeldCode.DEACTIVATIONS_PER_RUN, ActionState.DONE)
    said_no = (_leaver(2, HeldCode.REJECTED), _leaver(3, HeldCode.BLOCKED))
    said = command("plans", "show", str(_held(store, done, *said_no).id))[1]
    assert "plans approve" not in said
    assert "No approval lets that go" in said
    said = command("plans", "show", str(_held(store, *said_no, held=HeldCode.SOURCE_DROP).id))[1]
    assert "Approve: opshelm-agent plans approve" in said
    assert "Whoever an operator has said no about stays as they are" in said


def test_the_first_12_characters_of_a_checksum_suffice(
    command: Command, plan_id: int, store: Store, folder: Path
) -> None:
    okta = '[okta]\norg_url = "http://127.0.0.1:1"\napp_id = "0oa1"\napi_token = "t"\n'
    (folder / "agent.toml").write_text(okta)
    with store.read() as conn:
        stored = plans.get(conn, plan_id)
    assert stored is not None
    for typed in (stored.checksum[:11], "0" * 12, stored.checksum[1:]):
        code, _, err = command("plans", "approve", str(plan_id), "--checksum", typed)
        assert code == 2
        assert "The checksum is not that of plan" in err
    assert "checksum is not" not in command("plans", "approve", str(plan_id), "--checksum", stored.checksum[:12])[2]


@pytest.mark.usefixtures("people")
def test_people_are_searched_and_filtered(command: Command, document: Document) -> None:
    def logins(*options: str) -> list[str]:
        return [user["userName"] for user in document("users", "list", *options)["users"]]

    assert logins("--search", "ANN") == ["ann@example.com"]
    assert logins("--managed", "--inactive") == ["bob@example.com"]
    assert logins("--blocked") == ["bob@example.com"]
    assert logins("--local") == ["ann@example.com"]
    header, *lines = command("users", "list", "--inactive", "--csv")[1].splitlines()
    assert header.startswith("userName,state,role")
    assert [line.split(",")[0] for line in lines] == ["bob@example.com"]


@pytest.mark.usefixtures("people")
def test_a_list_of_people_is_read_page_by_page(document: Document, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = [user["userName"] for user in document("users", "list")["users"]]
    found = [user["userName"] for user in document("users", "list", "--search", "example")["users"]]
    monkeypatch.setattr(users, "AT_ONCE", 1)
    assert [user["userName"] for user in document("users", "list")["users"]] == whole == sorted(whole)
    assert [user["userName"] for user in document("users", "list", "--search", "example")["users"]] == found
    assert len(whole) > 1


@pytest.mark.usefixtures("people")
def test_with_okta_down_explain_shows_opshelms_half(command: Command, folder: Path) -> None:
    okta = '[okta]\norg_url = "http://127.0.0.1:9"\napp_id = "0oa1"\napi_token = "t"\nmax_retries = 0\n'
    (folder / "agent.toml").write_text(okta)
    code, out, _ = command("explain", "bob@example.com")
    assert code == 1
    assert "Okta didn't answer (connection refused)" in out
    assert "OpsHelm has" in out
    assert "blocked" in out
    assert re.search(r"^  \d{4}-\d\d-\d\d \d\d:\d\d:\d\dZ  applied  deactivate", out, re.MULTILINE)
