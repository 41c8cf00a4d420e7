"""Keys: believed for a moment, never remembered when wrong; a flood of wrong ones locks nobody out who was in before."""

import asyncio
import secrets
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
import structlog
from msgspec.structs import replace

from agent.receiver import auth
from agent.receiver.messages import Request
from agent.receiver.refusals import ScimError
from agent.store.keys import SLACK, ApiKey, KeyScope, digest


class Keys:
    """Fulfils agent.receiver.auth.Keys, and counts."""

    def __init__(self) -> None:
        self.kept: dict[str, ApiKey] = {}
        self.looked_up = 0
        self.touched = 0

    def add(self, **changes: object) -> str:
        secret = "oha_" + secrets.token_urlsafe(32)
        key = ApiKey(
            id=len(self.kept) + 1,
            name="okta",
            prefix=secret[:10],
            sha256=digest(secret),
            scope=KeyScope.SCIM,
            created=datetime.now(UTC),
            created_by="t",
            expires=None,
            revoked=None,
            grace_from=None,
            last_used=None,
            last_four=None,
        )
        self.kept[key.sha256] = replace(key, **changes)
        return secret

    def all(self) -> list[ApiKey]:
        self.looked_up += 1
        return list(self.kept.values())

    def touch(self, key: ApiKey, now: datetime) -> None:
        self.touched += 1


class Door:
    def __init__(self, *, blocking: bool = False) -> None:
        self.now = 0.0
        self.keys = Keys()
        self.authenticator = auth.Authenticator(self.keys, blocking=blocking, monotonic=lambda: self.now)

    def status(self, *lines: str, peer: str = "192.0.2.1") -> int:
        headers = [(b"authorization", line.encode("latin-1")) for line in lines]
        scope = {"method": "GET", "client": (peer, 1), "headers": headers, "query_string": b""}
        try:
            asyncio.run(self.authenticator.identify(Request(scope, ["Users"], "r")))
        except ScimError as error:
            return error.status
        return 200


@pytest.fixture
def capture() -> Iterator[structlog.testing.LogCapture]:
    capture, before = structlog.testing.LogCapture(), structlog.get_config()
    structlog.configure(processors=[capture])
    yield capture
    structlog.configure(**before)


@pytest.fixture(params=[False, True], ids=["on the loop", "in a thread"])
def world(request: pytest.FixtureRequest) -> Door:
    return Door(blocking=request.param)


def test_a_good_key_is_looked_up_again_when_its_time_is_over(world: Door) -> None:
    secret = world.keys.add()
    assert [world.status(f"Bearer {secret}") for _ in range(5)] == [200] * 5
    assert world.keys.looked_up == 1
    world.now += auth.CACHE_SECONDS
    assert world.status(secret) == 200
    assert world.keys.looked_up == 2


def test_a_revoked_key_holds_no_longer_than_it_is_believed(world: Door) -> None:
    secret = world.keys.add()
    assert world.status(secret) == 200
    sha256 = digest(secret)
    world.keys.kept[sha256] = replace(world.keys.kept[sha256], revoked=datetime.now(UTC))
    world.now += auth.CACHE_SECONDS
    assert auth.CACHE_SECONDS <= 5
    assert world.status(secret) == 401
    assert world.status(secret) == 401


def test_a_use_noted_before_the_clock_was_set_back_puts_off_no_other(world: Door) -> None:
    secret = world.keys.add(last_used=datetime.now(UTC) + timedelta(hours=5))
    assert world.status(secret) == 200
    assert world.keys.touched == 1


def test_a_wrong_key_is_never_remembered(world: Door) -> None:
    wrong = "oha_" + "x" * 43
    assert [world.status(wrong) for _ in range(3)] == [401] * 3
    assert world.keys.looked_up == 3


@pytest.mark.parametrize(
    "changes",
    [
        {"scope": KeyScope.METRICS},
        {"revoked": datetime(2026, 1, 1, tzinfo=UTC)},
        {"expires": datetime.now(UTC) - SLACK - timedelta(seconds=1)},
    ],
)
def test_keys_that_are_not_for_scim_or_over(world: Door, changes: dict[str, object]) -> None:
    assert world.status(world.keys.add(**changes)) == 401


@pytest.mark.parametrize(
    "line",
    ["", "Bearer", "Basic b2g6", "Token x", "Bearer \xe4", "oha_short", "oha_" + "x" * 200, "oha_" + "x" * 40 + "\x00"],
)
def test_what_cannot_be_a_key_costs_no_look_up(world: Door, line: str) -> None:
    assert world.status(line) == 401
    assert world.status() == 401
    assert world.keys.looked_up == 0


def test_two_authorizations_are_none(world: Door) -> None:
    secret = world.keys.add()
    assert world.status(secret, secret) == 401
    assert world.status(secret, "Bearer wrong") == 401


def test_a_flood_costs_no_more_look_ups_and_locks_no_good_key_out(world: Door) -> None:
    secret, unused = world.keys.add(), world.keys.add()
    assert world.status(secret) == 200
    wrong = "oha_" + "x" * 43
    statuses = [world.status(wrong) for _ in range(auth.FLOOD_LIMIT + 50)]
    assert statuses == [401] * (auth.FLOOD_LIMIT + 1) + [429] * 49
    looked_up = world.keys.looked_up
    assert world.status(wrong) == 429
    assert world.keys.looked_up == looked_up
    # Used before or not, from the flooded address, also when they must be looked up again.
    assert (world.status(secret), world.status(unused)) == (200, 200)
    world.now += auth.CACHE_SECONDS
    assert (world.status(secret), world.status(unused)) == (200, 200)
    # One that was made just now has to wait there for the next look (and is told so); from elsewhere it gets in.
    fresh = world.keys.add()
    assert world.status(fresh) == 429
    assert world.status(fresh, peer="192.0.2.2") == 200
    world.now += auth.FLOOD_SECONDS
    assert world.status(wrong) == 401


def test_a_flood_right_after_a_start_locks_no_good_key_out(world: Door) -> None:
    secret = world.keys.add()
    wrong = "oha_" + "x" * 43
    for _ in range(auth.FLOOD_LIMIT + 50):
        world.status(wrong)
    assert world.status(secret) == 200


def test_a_key_that_has_ended_is_named_in_the_log_and_a_strangers_is_not(
    world: Door, capture: structlog.testing.LogCapture
) -> None:
    ended = world.keys.add(revoked=datetime(2026, 1, 1, tzinfo=UTC))
    assert [world.status(ended), world.status("oha_" + "x" * 43)] == [401, 401]
    first, second = capture.entries
    assert first["key"] == 1
    assert "key" not in second
    assert ended not in str(capture.entries)


def test_addresses_of_strangers_do_not_fill_the_memory(world: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(auth, "MAX_ADDRESSES", 3)
    assert world.status("oha_" + "x" * 43) == 401
    fresh = world.keys.add()
    for _ in range(auth.FLOOD_LIMIT + 1):
        world.status("x", peer="192.0.2.0")
    for n in range(1, 3):
        world.status("x", peer=f"192.0.2.{n}")
    assert world.status(fresh, peer="192.0.2.0") == 429
    world.status("x", peer="192.0.2.3")
    assert world.status(fresh, peer="192.0.2.0") == 200, "it is forgotten"


def test_the_use_is_written_down_at_most_once_a_minute(world: Door) -> None:
    secret = world.keys.add()
    for _ in range(5):
        world.now += auth.CACHE_SECONDS
        assert world.status(secret) == 200
    assert world.keys.touched == 1
    recent = world.keys.add(last_used=datetime.now(UTC))
    assert world.status(recent) == 200
    assert world.keys.touched == 1
