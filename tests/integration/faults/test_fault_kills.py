"""F-01, F-02: ``serve`` is killed at random moments while eight clients push. Nothing that was acknowledged is lost."""

import random
import signal
import threading
from pathlib import Path

import pytest

from agent.directory.sql import SqlDirectory
from agent.settings import DatabaseSettings, Settings
from agent.store.engine import Store
from support.forks import Warm
from support.invariants import check, still_there
from support.pusher import ROOMY, Pusher, login, new_key

#: People that are pushed between two kills, if the kill comes late: four writes for each.
CROWD = 40
#: All invariants take a while on a journal that has grown long; acknowledged writes are looked up after each kill.
LOOK_EVERY = 20


def test_f01_f02_kills_under_pushes_lose_nothing(warm: Warm, database_url: str, tmp_path: Path) -> None:
    kills(warm, database_url, tmp_path, random.Random("two kills"), 2)


@pytest.mark.slow
def test_f01_f02_two_hundred_kills_under_pushes_lose_nothing(warm: Warm, sqlite_url: str, tmp_path: Path) -> None:
    kills(warm, sqlite_url, tmp_path, random.Random("kills"), 200)


def kills(warm: Warm, url: str, folder: Path, draw: random.Random, times: int) -> None:
    key = new_key(url)
    acknowledged: dict[str, int] = {}
    for turn in range(times):
        numbers = range(turn * CROWD, (turn + 1) * CROWD)
        lost = killed_under_pushes(warm, url, folder, key, numbers, draw, acknowledged)
        if turn % LOOK_EVERY == 0 or turn == times - 1:
            made_good(warm, url, folder, key, lost, acknowledged)


def killed_under_pushes(
    warm: Warm, url: str, folder: Path, key: str, numbers: range, draw: random.Random, acknowledged: dict[str, int]
) -> list[int]:
    """One life of a daemon; answers whom it may or may not have made."""
    daemon = warm.serve(folder, ROOMY | {"OPSHELM_DATABASE__URL": url})
    pusher = Pusher(daemon.url, key)
    pusher.acknowledged = acknowledged
    pushing = threading.Thread(target=pusher.crowd, args=(numbers,))
    pushing.start()
    # At a random answer, and then at a random moment before the next ones.
    pusher.wait_for(draw.randint(1, 3 * CROWD))
    threading.Event().wait(draw.random() * 0.005)
    assert daemon.stop(signal.SIGKILL) == -signal.SIGKILL
    pushing.join()
    assert pusher.lost
    store = Store.open(DatabaseSettings(url=url))
    try:
        still_there(store, pusher.said())
    finally:
        store.close()
    return list(numbers)


def made_good(warm: Warm, url: str, folder: Path, key: str, numbers: list[int], acknowledged: dict[str, int]) -> None:
    """After the restart everybody is pushed once more, as Okta does after a lost answer: one account each."""
    daemon = warm.serve(folder, ROOMY | {"OPSHELM_DATABASE__URL": url})
    pusher = Pusher(daemon.url, key)
    pusher.acknowledged = acknowledged
    for number in numbers:
        pusher.create(number)
    assert set(pusher.statuses) <= {201, 409}
    assert daemon.stop() == 0
    store = Store.open(DatabaseSettings(url=url))
    check(store, pusher.said())
    directory = SqlDirectory(store, Settings())
    assert all(directory.find(user_name_key=login(number)) is not None for number in numbers)
    store.close()
