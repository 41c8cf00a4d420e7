"""Nobody waits for Okta without end: a connection that is closed, and a process that is asked to stop."""

import asyncio
import threading
import time
from collections.abc import Callable

import pytest

from agent.model.errors import OktaError, OktaThrottled, OktaUnreachable
from agent.okta_org import OktaOrg
from agent.okta_org.sdk import Sdk
from agent.settings import OktaSettings
from support.scripted import APP, TOKEN, Say, Scripted


def org(server: Scripted, **more: object) -> OktaOrg:
    return OktaOrg(OktaSettings(org_url=server.url, app_id=APP, api_token=TOKEN), **more)


def in_thread(work: Callable[[], object]) -> tuple[threading.Thread, list[OktaError]]:
    errors: list[OktaError] = []

    def run() -> None:
        try:
            while True:
                work()
        except OktaError as error:
            errors.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    return thread, errors


def test_whoever_reads_while_the_connection_is_closed_gets_an_error_at_any_moment(server: Scripted) -> None:
    server.rule("/api/v1/logs", lambda _asked: Say(body=[]))
    for _ in range(20):
        read = org(server)
        readers = [in_thread(read.log_events) for _ in range(4)]
        read.close()
        for thread, errors in readers:
            thread.join(30)
            assert not thread.is_alive(), "it waits without end"
            assert [type(error) for error in errors] == [OktaUnreachable]


def test_who_asks_while_the_connection_is_being_closed_does_not_wait_for_ever(
    server: Scripted, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.rule("/api/v1/logs", lambda _asked: Say(delay=None))
    closing, close = threading.Event(), Sdk.close

    async def slowly(self: Sdk) -> None:
        closing.set()
        await asyncio.sleep(0.5)
        await close(self)

    monkeypatch.setattr(Sdk, "close", slowly)
    read = org(server)

    def late() -> None:
        assert closing.wait(30)
        read.log_events()

    thread, errors = in_thread(late)
    read.close()
    thread.join(60)
    assert not thread.is_alive(), "it waits without end"
    assert [type(error) for error in errors] == [OktaUnreachable]


def test_asked_to_stop_nobody_waits_for_a_limit_and_no_listing_goes_on(server: Scripted) -> None:
    reset = str(int(time.time()) + 300)
    full = [("X-Rate-Limit-Limit", "50"), ("X-Rate-Limit-Remaining", "0"), ("X-Rate-Limit-Reset", reset)]
    server.rule("/api/v1/logs", lambda _asked: Say(body=[], headers=full))
    waits = threading.Event()

    async def sleep(_seconds: float) -> None:
        waits.set()
        await asyncio.Event().wait()

    with org(server, sleep=sleep) as read:
        thread, errors = in_thread(read.log_events)
        assert waits.wait(30)
        read.end_waits()
        thread.join(30)
        assert not thread.is_alive()
        assert [type(error) for error in errors] == [OktaThrottled]
        with pytest.raises(OktaUnreachable, match="asked to stop"):
            next(read.app_user_pages())
