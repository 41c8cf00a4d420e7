"""One request never blocks the others: long searches and PATCHes leave the loop and the writer's turn, and have an end."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from msgspec.structs import replace

from agent.directory.port import Draft, Page, WriteContext
from agent.directory.sql import SqlDirectory
from agent.model.codes import Source
from agent.model.users import DirectoryUser
from agent.receiver.app import build
from agent.settings import Settings
from agent.store.journal import Signature
from support.receiver import PATCH_OP, Served, deactivation, okta_user, running, served

HEAVY = " or ".join(f'emails[display co "{n}"]' for n in range(60))


class Slow(SqlDirectory):
    """Searches and changes that wait until they are let go."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.begun, self.go_on = threading.Semaphore(0), threading.Event()
        #: Nicknames that are given to an account right after it was read.
        self.nicknames: list[str] = []

    def search(self, *args: Any, **more: Any) -> Page:
        self.begun.release()
        assert self.go_on.wait(30)
        return super().search(*args, **more)

    def get(self, user_id: str) -> DirectoryUser | None:
        found = super().get(user_id)
        if found is not None and self.nicknames:
            profile = replace(found.profile, nick_name=self.nicknames.pop())
            draft = Draft(user_name=found.user_name, profile=profile)
            context = WriteContext(actor="test", source=Source.PUSH)
            self.modify(user_id, lambda _: draft, context, datetime.now(UTC)).result(30)
        return found


@contextmanager
def slow(url: str) -> Iterator[tuple[Served, Slow]]:
    with served(url) as real:
        directory = Slow(real.store, Settings(database={"url": url}))
        with running(build(directory, real.store, Settings(database={"url": url}))) as address:
            receiver = Served(f"{address}/scim/v2", real.store, directory, real.key)
            try:
                yield receiver, directory
            finally:
                directory.go_on.set()
                receiver.close()


def test_pushes_and_lookups_are_answered_while_as_many_searches_as_may_wait_are_under_way(database_url: str) -> None:
    with slow(database_url) as (receiver, directory), ThreadPoolExecutor(40) as pool:
        made = receiver.create("a@example.com")
        searches = [
            pool.submit(receiver.client.get, "/Users", params={"filter": 'title co "x"'}, timeout=60) for _ in range(33)
        ]
        for _ in range(4):
            assert directory.begun.acquire(timeout=30)
        assert receiver.send("POST", "/Users", okta_user("b@example.com")).status_code == 201
        patched = receiver.send("PATCH", f"/Users/{made['id']}", deactivation())
        assert patched.status_code == 200
        assert receiver.find('userName eq "a@example.com"')["totalResults"] == 1
        titled = {"schemas": [PATCH_OP], "Operations": [{"op": "add", "path": "title", "value": "x"}]}
        assert receiver.send("PATCH", f"/Users/{made['id']}", titled).status_code == 200
        directory.go_on.set()
        answers = sorted(search.result(60).status_code for search in searches)
        assert answers == [200] * 32 + [429]


def test_a_filter_that_takes_too_long_is_too_many_and_never_a_wrong_list(database_url: str) -> None:
    with served(database_url, receiver={"search_time": timedelta(milliseconds=1)}) as receiver:
        for n in range(150):
            receiver.create(f"p{n}@example.com", title="x" * 500)
        answer = receiver.client.get("/Users", params={"filter": HEAVY})
        assert (answer.status_code, answer.json().get("scimType")) == (400, "tooMany")
        cursor = receiver.client.get("/Users", params={"filter": HEAVY, "cursor": ""})
        assert (cursor.status_code, cursor.json().get("scimType")) == (400, "tooMany")
        # What has no filter, or Okta's own, has no such end; and the connection is as good as before.
        assert receiver.client.get("/Users").json()["totalResults"] == 150
        receiver.directory.renew(Settings(), Signature(actor="test", source="test", at=datetime.now(UTC)))
        assert receiver.find(HEAVY)["totalResults"] == 0


def test_a_patch_that_lost_a_race_is_worked_out_anew(database_url: str) -> None:
    """Another one comes between its working out and the writer's turn; none of the two is lost."""
    with slow(database_url) as (receiver, directory):
        made = receiver.create("a@example.com")
        directory.nicknames = ["Al", "Bo"]
        titled = {"schemas": [PATCH_OP], "Operations": [{"op": "add", "path": "title", "value": "x"}]}
        answer = receiver.send("PATCH", f"/Users/{made['id']}", titled)
        assert (answer.json()["title"], answer.json()["nickName"]) == ("x", "Al")
        assert directory.nicknames == []


@pytest.mark.parametrize("operations", [100, 40])
def test_a_patch_of_too_much_is_refused_before_it_is_worked_out(sqlite_receiver: Served, operations: int) -> None:
    many = [{"value": f"a{n}@example.com", "primary": n == 0} for n in range(60)]
    made = sqlite_receiver.create("a0@example.com", emails=many)
    said = [
        {"op": "replace", "path": f'emails[value eq "a{n}@example.com"].type', "value": "home"}
        for n in range(operations)
    ]
    answer = sqlite_receiver.send("PATCH", f"/Users/{made['id']}", {"schemas": [PATCH_OP], "Operations": said})
    assert (answer.status_code, answer.json()["scimType"]) == (400, "tooMany")
