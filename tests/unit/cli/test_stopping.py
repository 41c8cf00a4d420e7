"""SIGTERM while a command applies: it is told to stop, and the lease is given back."""

import os
import signal
import threading

from agent.cli.command import asked_to_stop


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
