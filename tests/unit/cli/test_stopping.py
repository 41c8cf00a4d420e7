"""SIGTERM while a command applies: it is told to stop, and the lease is given back. And Ctrl-C."""

import os
import signal
import threading

import pytest

from agent.cli.command import asked_to_stop
from agent.cli.root import run
from agent.model.errors import StoreError
from agent.settings import describe


def test_the_first_sigterm_asks_and_the_next_is_the_process_s_own() -> None:
    stop, ended = threading.Event(), []
    outside = signal.signal(signal.SIGTERM, lambda *_: ended.append("killed"))
    try:
        with asked_to_stop(stop.set):
            os.kill(os.getpid(), signal.SIGTERM)
            assert (stop.is_set(), ended) == (True, [])
            os.kill(os.getpid(), signal.SIGTERM)
            assert ended == ["killed"]
        os.kill(os.getpid(), signal.SIGTERM)
        assert ended == ["killed", "killed"]
    finally:
        signal.signal(signal.SIGTERM, outside)


def test_ctrl_c_is_called_so_whatever_fails_while_things_are_let_go(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def stopped() -> str:
        try:
            raise KeyboardInterrupt
        finally:
            raise StoreError("the connection is closed")

    monkeypatch.setattr(describe, "example_file", stopped)
    assert run(["config", "example"]) == 130
    assert capsys.readouterr().err == "error: interrupted\n"
