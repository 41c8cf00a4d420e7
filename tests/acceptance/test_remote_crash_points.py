"""F-04, F-21: the agent is killed around each call to a remote, and the next run puts everything right. Real processes."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.store.engine import CRASH_POINTS, VARIABLE
from support.forks import Warm
from support.pusher import Answer, Pusher, new_key
from support.receiver import deactivation, okta_user
from support.remote_company import CHANGED, LEAVER, RemoteCase, RemoteCompany, remote_company

#: A process for each kill.
pytestmark = pytest.mark.slow

KILLED = -9
IN_A_CALL = tuple(point for point in CRASH_POINTS if point.startswith("call."))


@pytest.fixture(scope="module")
def drifted(tmp_path_factory: pytest.TempPathFactory, warm: Warm) -> Iterator[RemoteCompany]:
    with remote_company(tmp_path_factory.mktemp("company"), warm) as made:
        yield made


@pytest.fixture
def case(drifted: RemoteCompany, tmp_path: Path) -> RemoteCase:
    return drifted.case(tmp_path)


@pytest.mark.parametrize("nth", [1, 2, 3], ids=["first call", "second call", "third call"])
@pytest.mark.parametrize("point", IN_A_CALL)
def test_f04_a_run_that_is_killed_around_a_call_is_put_right_by_the_next_one(
    case: RemoteCase, point: str, nth: int
) -> None:
    """A create, a deactivation and an update, one after the other."""
    done = case.run("reconcile", "--apply", **{VARIABLE: f"{point}:{nth}"})
    assert done.code == KILLED, f"{point}:{nth} was not hit: {done.out}{done.err}"
    assert case.open_intents() == 1
    sent = sum(call.writes for call in case.server.calls)
    assert sent == (nth - 1 if point == "call.intended" else nth)
    case.later()
    case.heals()
    # What the killed process had sent was found, not sent again.
    assert sum(call.writes for call in case.server.calls) == 3


@pytest.mark.parametrize(
    ("point", "nth", "sent", "in_doubt"),
    [
        ("call.intended", 3, 2, 2),
        ("call.answered", 3, 3, 2),
        ("call.intended", 4, 3, 2),
        ("call.answered", 4, 4, 2),
        ("call.read", 3, 3, 2),
        ("wave.called", 1, 4, 2),
    ],
)
def test_f04_a_run_that_is_killed_amid_a_wave_is_put_right_by_the_next_one(
    case: RemoteCase, point: str, nth: int, sent: int, in_doubt: int
) -> None:
    """A create and a deactivation by themselves, then two updates together."""
    other = case.drift_another()
    done = case.run("reconcile", "--apply", **{VARIABLE: f"{point}:{nth}"})
    assert done.code == KILLED, f"{point}:{nth} was not hit: {done.out}{done.err}"
    assert (sum(call.writes for call in case.server.calls), case.open_intents()) == (sent, in_doubt)
    case.later()
    case.heals()
    assert case.server.users[other].get("title") != "Drifted"
    # What the killed process had sent was found, not sent again.
    assert sum(call.writes for call in case.server.calls) == 4


def test_what_may_still_be_under_way_is_left_alone_for_a_while_and_all_else_goes_on(case: RemoteCase) -> None:
    assert case.run("reconcile", "--apply", **{VARIABLE: "call.intended:1"}).code == KILLED
    done = case.apply()
    assert done.code == 5, done.out + done.err
    (waits,) = [a for a in done.json()["plan"]["actions"] if a["state"] != "done"]
    assert (waits["state"], "under way" in waits["error"], case.open_intents()) == ("failed", True, 1)
    assert sum(call.writes for call in case.server.calls) == 2


# Pushes by way of the agent


def pushed(pusher: Pusher, case: RemoteCase, kind: str) -> Answer | None:
    match kind:
        case "create":
            body = okta_user("pushed@example.com", externalId="00uPUSHED")
            return pusher.send("POST", "/Users", body)
        case "update":
            name = case.user(CHANGED)["userName"]
            return pusher.send("PUT", f"/Users/{case.company.ids[CHANGED]}", okta_user(name, title="Captain"))
        case _:
            return pusher.send("PATCH", f"/Users/{case.company.ids[LEAVER]}", deactivation())


@pytest.mark.parametrize("kind", ["create", "update", "deactivate"])
@pytest.mark.parametrize("point", [*IN_A_CALL, "push.committed"])
def test_f01_f02_a_gateway_that_is_killed_in_a_push_finds_out_what_became_of_it(
    case: RemoteCase, warm: Warm, point: str, kind: str
) -> None:
    env = case.env(OPSHELM_SCHEDULE__RECONCILE="off", OPSHELM_SCHEDULE__EVENTS="off")
    key = new_key(env["OPSHELM_DATABASE__URL"])
    daemon = warm.serve(case.folder, env | {VARIABLE: point})
    assert pushed(Pusher(daemon.url, key), case, kind) is None
    assert daemon.wait() == KILLED
    sent = sum(call.writes for call in case.server.calls)
    assert (sent, case.open_intents()) == (int(point != "call.intended"), int(point != "push.committed"))
    case.later()
    daemon = warm.serve(case.folder, env | {VARIABLE: ""})
    try:
        answer = pushed(Pusher(daemon.url, key), case, kind)
        assert answer is not None
        # As with the embedded directory: a create that had been done before its answer was lost is there already.
        assert answer.status == (409 if kind == "create" and sent else 201 if kind == "create" else 200)
    finally:
        assert daemon.stop() == 0
    assert sum(call.writes for call in case.server.calls) == 1
    assert len(case.named("pushed@example.com")) == (kind == "create")
    if kind == "deactivate":
        assert not case.user(LEAVER)["active"]
    case.is_whole()
