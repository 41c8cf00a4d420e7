"""One call ends in time however it drips; a push ends before Okta gives it up, with its turn and what is read back."""

import socket
import threading
from collections.abc import Iterator
from datetime import timedelta

import pytest

from agent.directory.remote import deadline
from agent.directory.remote.transport import Transport
from agent.model.codes import Source
from agent.model.errors import AnswerLost, DirectoryUnavailable
from agent.model.users import DirectoryUser
from agent.settings import DirectorySettings
from agent.store import intents
from agent.store.engine import Store
from support.place import ROOMY, Place, okta_id, remote_place
from support.remotes import QUICK, Held, Remote
from support.sloppy import KEY, Call, Sloppy

HEAD = b"HTTP/1.1 200 OK\r\nX-Slow: " + b"a" * 200 + b"\r\nContent-Length: 2\r\n\r\n{}"


def test_dripping_headers_end_with_the_time_out() -> None:
    """The server would need ten times as long as the call may take; it sees the agent hang up."""
    listener = socket.create_server(("127.0.0.1", 0))
    dripped: list[int] = []
    hung_up = threading.Event()

    def drip() -> None:
        peer, _ = listener.accept()
        with peer:
            peer.recv(65536)
            peer.settimeout(0.02)
            for at in range(len(HEAD)):
                try:
                    peer.sendall(HEAD[at : at + 1])
                    if peer.recv(1) == b"":
                        break
                except TimeoutError:
                    dripped.append(at)
                except OSError:
                    break
            else:
                return
        hung_up.set()

    thread = threading.Thread(target=drip, daemon=True)
    thread.start()
    url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    settings = DirectorySettings(backend="scim", base_url=url, api_key=KEY, timeout=timedelta(seconds=0.4))
    calls = Transport(settings, QUICK)
    try:
        with pytest.raises(DirectoryUnavailable, match="no whole answer"):
            calls.read("/Users", patience=0.1)
        thread.join()
        assert hung_up.is_set()
        assert 0 < len(dripped) < len(HEAD) - 50
    finally:
        calls.close()
        listener.close()


def test_a_connection_that_nobody_takes_is_told_apart_from_a_deadline_that_is_over() -> None:
    """Who waits for the push has no use for advice about firewalls."""
    with socket.create_server(("127.0.0.1", 0), backlog=0) as full, socket.socket() as waiting:
        address = full.getsockname()
        waiting.connect(address)
        settings = DirectorySettings(
            backend="scim", base_url=f"http://127.0.0.1:{address[1]}", api_key=KEY, timeout=timedelta(seconds=0.2)
        )
        calls = Transport(settings, QUICK)
        try:
            with pytest.raises(DirectoryUnavailable, match="no connection came about in time"):
                calls.read("/Users", patience=0)
            with deadline.within(0.1), pytest.raises(DirectoryUnavailable, match="took too long in all"):
                calls.read("/Users", patience=0)
        finally:
            calls.close()


class Stuck:
    """From ``set`` on, writes get no answer until the test is over; ``overslept``: the agent waited for one too long."""

    def __init__(self, sloppy: Sloppy) -> None:
        self.reached = threading.Event()
        self.release = threading.Event()
        self.overslept = False
        sloppy.scripted = self.hook

    def hook(self, _: Sloppy, call: Call) -> None:
        if call.writes:
            self.reached.set()
            self.overslept = self.overslept or not self.release.wait(60)


@pytest.fixture
def hurried(sqlite_store: Store, sloppy: Sloppy, monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    """One write at a time, a second for each push."""
    with remote_place(sqlite_store, Remote(sloppy.url, KEY), ROOMY, concurrency=1) as place:
        place.users = [place.post(f"p{n}@example.com", okta=okta_id(n)).user for n in range(2)]  # type: ignore[attr-defined]
        monkeypatch.setattr(deadline, "PUSH", 1.0)
        monkeypatch.setattr(deadline, "READING_BACK", 0.4)
        yield place
        place.remote.client.close()


def users(place: Place) -> list[DirectoryUser]:
    return place.users  # type: ignore[attr-defined, no-any-return]


def test_a_push_whose_write_is_swallowed_ends_in_time_and_stays_open(hurried: Place, sloppy: Sloppy) -> None:
    stuck = Stuck(sloppy)
    try:
        with pytest.raises(AnswerLost):
            hurried.change(users(hurried)[0], active=False)
    finally:
        stuck.release.set()
    assert (sloppy.count("PATCH"), stuck.overslept) == (1, False)
    with hurried.store.read() as conn:
        assert len(intents.open_intents(conn)) == 1


def test_a_push_that_waits_for_others_ends_in_time_unsent(hurried: Place, sloppy: Sloppy) -> None:
    stuck = Stuck(sloppy)
    first, second = users(hurried)
    try:
        slow = hurried.begin_change(first, title="Clerk")
        assert stuck.reached.wait(60)
        with pytest.raises(DirectoryUnavailable, match=r"took too long in all|no whole answer"):
            # Its turn comes when next to nothing is left: too little to begin, or to hear the answer to its read.
            hurried.change(second, title="Clerk")
        with pytest.raises(AnswerLost):
            slow.result(60)
    finally:
        stuck.release.set()
    assert not stuck.overslept
    assert "title" not in sloppy.users[second.id]


def test_a_push_does_not_wait_for_its_account_for_ever(hurried: Place) -> None:
    """Somebody who may take longer, such as a run, is writing the same account."""
    user = users(hurried)[0]
    held = Held(hurried.directory, lambda method, *_: method == "PATCH")
    run = threading.Thread(target=lambda: hurried.begin_change(user, source=Source.SWEEP, title="Chief").result(30))
    run.start()
    held.wait()
    with pytest.raises(DirectoryUnavailable, match="under way"):
        hurried.change(user, title="Clerk")
    held.release()
    run.join()
    assert hurried.change(user, title="Clerk").changed


def test_a_deadline_within_another_one_ends_no_later() -> None:
    with deadline.within(5), deadline.within(100):
        assert deadline.left() <= 5
    assert deadline.left() == float("inf")
