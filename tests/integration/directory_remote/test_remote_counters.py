"""What a listing counts of an account while deactivations are under way: each is counted once, whatever the list shows."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from agent.model.errors import AnswerLost
from agent.model.users import DirectoryUser
from agent.store import account
from agent.store.engine import Store
from support.place import OVER, Place, okta_id, remote_place
from support.remotes import Held, Remote
from support.sloppy import KEY, Call, Reply, Sloppy

NAMES = ("ann@example.com", "bob@example.com", "cid@example.com")


def people(place: Place) -> list[DirectoryUser]:
    return [place.post(name, okta=okta_id(n)).user for n, name in enumerate(NAMES)]


def managed_active(place: Place) -> int:
    with place.store.read() as conn:
        return account.get(conn).managed_active


def listed(place: Place) -> int:
    for _ in place.directory.everyone():
        pass
    return managed_active(place)


@pytest.mark.parametrize("carried_out", [False, True])
def test_one_in_doubt_counts_as_made_whatever_the_list_shows(
    sloppy_place: Place, sloppy: Sloppy, carried_out: bool
) -> None:
    ann, *_ = people(sloppy_place)

    def cut(server: Sloppy, call: Call) -> Reply | None:
        """The answer is lost, and then nothing can be read until this is over."""
        if call.path != f"/Users/{ann.id}":
            return None
        if call.method == "PATCH":
            server.users[ann.id]["active"] = not carried_out
            return Reply(200, cut=0)
        return Reply(500) if sloppy.count("PATCH") else None

    sloppy.scripted = cut
    sloppy_place.directory.transport.most_patience = 0.0
    with pytest.raises(AnswerLost):
        sloppy_place.change(ann, active=False)
    assert (managed_active(sloppy_place), listed(sloppy_place)) == (2, 2)
    sloppy.scripted = None
    assert sloppy_place.directory.read_back(sloppy_place.now + OVER) == 0
    truth = sum(bool(user["active"]) for user in sloppy.users.values())
    assert (managed_active(sloppy_place), listed(sloppy_place)) == (truth, truth)
    assert truth == (2 if carried_out else 3)


@pytest.mark.parametrize("shown", [1, 2, 3], ids=["before its page", "on its page", "after its page"])
def test_one_that_is_made_while_the_list_is_read_counts(sqlite_store: Store, sloppy: Sloppy, shown: int) -> None:
    with remote_place(sqlite_store, Remote(sloppy.url, KEY), page_size=1, concurrency=2) as place:
        everybody = people(place)
        page = Held(place.directory, lambda _, path, query: path == "/Users" and query.get("startIndex") == str(shown))
        with ThreadPoolExecutor(1) as pool:
            counted = pool.submit(listed, place)
            page.wait()
            place.change(everybody[1], active=False)
            page.release()
            assert counted.result(30) == 2
        assert listed(place) == 2


def test_one_that_is_under_way_when_the_list_begins_and_ends_after_its_page_counts(
    sqlite_store: Store, sloppy: Sloppy
) -> None:
    with remote_place(sqlite_store, Remote(sloppy.url, KEY), page_size=1, concurrency=2) as place:
        ann, *_ = people(place)
        call = Held(place.directory, lambda method, *_: method == "PATCH")
        change = place.begin_change(ann, active=False)
        call.wait()
        page = Held(place.directory, lambda _, path, query: path == "/Users" and query.get("startIndex") == "3")
        with ThreadPoolExecutor(1) as pool:
            counted = pool.submit(listed, place)
            page.wait()
            call.release()
            change.result(30)
            page.release()
            assert counted.result(30) == 2
        assert listed(place) == 2


def test_one_that_was_done_and_undone_again_while_an_older_one_is_in_doubt_counts_for_nothing(
    sloppy_place: Place, sloppy: Sloppy
) -> None:
    ann, bob, _ = people(sloppy_place)
    sloppy.scripted = lambda _, call: Reply(500) if call.path == f"/Users/{ann.id}" and sloppy.count("PATCH") else None
    sloppy_place.directory.transport.most_patience = 0.0
    with pytest.raises(AnswerLost):
        sloppy_place.change(ann, active=False)
    sloppy_place.change(bob, active=False)
    sloppy_place.change(bob, active=True)
    assert (managed_active(sloppy_place), listed(sloppy_place)) == (2, 2)
