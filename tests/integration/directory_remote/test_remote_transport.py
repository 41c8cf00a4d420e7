"""Calls to a remote: what is tried again, how long, with which certificate, and that the key goes nowhere else."""

import gzip
import json
import logging
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path

import pytest
import structlog
from msgspec.structs import replace

from agent.checks import remote as checks
from agent.directory.remote.patience import PATIENT, STRANGER, Pace
from agent.directory.remote.transport import Transport
from agent.model.check import CheckState
from agent.model.errors import AnswerLost, ConfigError, DirectoryUnavailable
from agent.settings import DirectorySettings
from agent.store import alarms
from agent.store.engine import Store
from support.authority import Authority
from support.place import Place, remote_place
from support.remotes import QUICK, Remote
from support.sloppy import KEY, Reply, Sloppy, error, sloppy_server


@contextmanager
def transport(
    url: str, pace: Pace = QUICK, stop: threading.Event | None = None, **settings: object
) -> Iterator[Transport]:
    values = {"backend": "scim", "base_url": url, "api_key": KEY, "max_per_second": 100_000.0}
    made = Transport(DirectorySettings(**(values | settings)), pace, stop)
    try:
        yield made
    finally:
        made.close()


def times(count: int, reply: Reply):
    """``reply`` for the first ``count`` calls, then the server's own answers."""
    left = [reply] * count
    return lambda _server, _call: left.pop() if left else None


@pytest.mark.parametrize("bomb", [False, True])
def test_an_answer_may_come_compressed_and_is_only_as_large_as_what_comes_out(
    sloppy: Sloppy, monkeypatch: pytest.MonkeyPatch, bomb: bool
) -> None:
    packed = gzip.compress(json.dumps({"totalResults": 0, "note": "x" * (5000 if bomb else 0)}).encode())
    assert len(packed) < 100
    monkeypatch.setattr("agent.directory.remote.transport.MAX_ANSWER", 1000)
    sloppy.scripted = lambda *_: Reply(200, raw=packed, Content_Encoding="gzip")
    with transport(sloppy.url) as calls:
        if not bomb:
            assert calls.read("/Users").json()["totalResults"] == 0
            return
        calls.most_patience = 0.0
        with pytest.raises(DirectoryUnavailable):
            calls.read("/Users")


def test_an_answer_that_is_too_large_is_not_read_to_its_end(sloppy: Sloppy, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agent.directory.remote.transport.MAX_ANSWER", 1000)
    sloppy.scripted = lambda *_: Reply(200, {"note": "x" * 1000})
    with transport(sloppy.url) as calls:
        calls.most_patience = 0.0
        with pytest.raises(DirectoryUnavailable):
            calls.read("/Users")


BAD = [
    Reply(500),
    Reply(502, raw=b"<html>"),
    Reply(503),
    Reply(504),
    Reply(429),
    Reply(200, raw=b"<html>hello"),
    Reply(200, raw=b""),
    Reply(cut=0),
    Reply(200, {"a": "b" * 100}, cut=20),
]


@pytest.mark.parametrize("bad", BAD, ids=lambda r: f"{r.status} {r.content[:6].decode()} {r.cut}")
def test_a_read_is_tried_again(sloppy: Sloppy, bad: Reply) -> None:
    sloppy.scripted = times(2, bad)
    with transport(sloppy.url, replace(QUICK, nonsense=60.0)) as calls:
        assert calls.read("/ServiceProviderConfig").json()["patch"] == {"supported": True}
    assert len(sloppy.calls) == 3


def test_a_read_ends_with_the_callers_patience(sloppy: Sloppy) -> None:
    sloppy.scripted = lambda *_: Reply(503)
    with transport(sloppy.url) as calls, pytest.raises(DirectoryUnavailable, match="503"):
        calls.read("/Users", patience=0.2)
    assert len(sloppy.calls) > 1


@pytest.mark.parametrize("date", [False, True], ids=["seconds", "date"])
def test_retry_after_is_kept(sloppy: Sloppy, date: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    sent = datetime(2030, 1, 1, tzinfo=UTC)
    text = format_datetime(sent + timedelta(seconds=7), usegmt=True) if date else "7"
    # The server's own Date decides, not this machine's clock.
    headers = {"Retry-After": text, "Date": format_datetime(sent, usegmt=True)}
    sloppy.scripted = times(1, Reply(429, **headers))
    slept: list[float] = []
    with transport(sloppy.url) as calls:
        monkeypatch.setattr("agent.directory.remote.patience.pause", lambda _stop, seconds: slept.append(seconds))
        assert calls.read("/ServiceProviderConfig").ok
    assert slept == [7.0]


def test_a_wait_beyond_the_patience_is_not_begun(sloppy: Sloppy) -> None:
    sloppy.scripted = lambda *_: Reply(429, **{"Retry-After": "3600"})
    with transport(sloppy.url) as calls, pytest.raises(DirectoryUnavailable, match="429"):
        calls.read("/Users", patience=5)
    assert len(sloppy.calls) == 1


def test_a_write_is_sent_again_only_when_it_certainly_was_not_done(sloppy: Sloppy) -> None:
    with transport(sloppy.url) as calls:
        sloppy.scripted = times(2, Reply(429))
        assert calls.write("POST", "/Users", {"userName": "ann@example.com"}).status == 201
        assert sloppy.count("POST") == 3
        for bad in (Reply(500), Reply(503), Reply(cut=0), Reply(200, {"a": 1}, cut=3)):
            sloppy.calls.clear()
            sloppy.scripted = times(9, bad)
            with pytest.raises(AnswerLost):
                calls.write("POST", "/Users", {"userName": "bob@example.com"})
            assert sloppy.count("POST") == 1


def test_a_server_that_is_not_there_is_unavailable() -> None:
    with (
        transport("http://127.0.0.1:1") as calls,
        pytest.raises(DirectoryUnavailable, match=r"can't be reached: it refuses the connection\. Check"),
    ):
        calls.write("POST", "/Users", {}, patience=0.1)


def test_a_name_that_does_not_resolve_is_said_so() -> None:
    with (
        transport("http://nowhere.invalid") as calls,
        pytest.raises(DirectoryUnavailable, match="its name doesn't resolve"),
    ):
        calls.read("/Users", patience=0.1)


def test_https_to_a_plain_port_is_said_so_at_once(sloppy: Sloppy) -> None:
    with (
        transport(sloppy.url.replace("http:", "https:")) as calls,
        pytest.raises(DirectoryUnavailable, match=r"speaks no TLS on that port\. Check scheme and port"),
    ):
        calls.read("/Users")


class Slept:
    """Time that passes only in pauses."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.pauses: list[float] = []
        self.now = time.monotonic()
        monkeypatch.setattr("agent.directory.remote.patience.pause", self._pause)
        monkeypatch.setattr(time, "monotonic", lambda: self.now)

    def _pause(self, _stop: threading.Event, seconds: float) -> None:
        self.pauses.append(seconds)
        self.now += seconds


@pytest.mark.parametrize("bad", [Reply(503), Reply(cut=0)], ids=["503", "no answer"])
def test_what_has_never_answered_is_given_up_sooner_than_what_has(
    sloppy: Sloppy, bad: Reply, monkeypatch: pytest.MonkeyPatch
) -> None:
    slept = Slept(monkeypatch)
    with transport(sloppy.url, Pace()) as calls:
        sloppy.scripted = lambda *_: bad
        with pytest.raises(DirectoryUnavailable):
            calls.read("/ServiceProviderConfig")
        assert 10 < sum(slept.pauses) < STRANGER
        sloppy.scripted = None
        assert calls.read("/ServiceProviderConfig").ok
        sloppy.scripted = lambda *_: bad
        slept.pauses.clear()
        with pytest.raises(DirectoryUnavailable):
            calls.read("/ServiceProviderConfig", patience=100)
        assert STRANGER < sum(slept.pauses) < 100


def test_of_many_calls_that_meet_a_remote_that_is_down_not_each_waits_as_long(
    sloppy: Sloppy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Until it answers again, or nobody has called it for a while."""
    slept = Slept(monkeypatch)

    def waited(calls: Transport) -> float:
        slept.pauses.clear()
        with pytest.raises(DirectoryUnavailable):
            calls.read("/Users/u1")
        return sum(slept.pauses)

    with transport(sloppy.url, Pace()) as calls:
        assert calls.read("/ServiceProviderConfig").ok
        sloppy.scripted = lambda *_: Reply(cut=0)
        first = waited(calls)
        assert first > STRANGER
        assert first + sum(waited(calls) for _ in range(5)) < PATIENT + 1
        assert waited(calls) < 1
        sloppy.scripted = None
        assert calls.read("/ServiceProviderConfig").ok
        sloppy.scripted = lambda *_: Reply(cut=0)
        assert waited(calls) > 0.9 * first
        slept.now += 3600
        assert waited(calls) > 0.9 * first


@pytest.mark.parametrize("bad", [error(500, "count is broken"), Reply(200, raw=b"<html>")], ids=["500", "a web page"])
def test_a_question_that_the_remote_fails_at_is_not_asked_for_long(
    sloppy: Sloppy, bad: Reply, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever it answers otherwise: waiting mends no mistake. What it has answered before may pass."""
    slept = Slept(monkeypatch)
    by_count = {"startIndex": 1, "count": 10}
    with transport(sloppy.url, Pace()) as calls:
        sloppy.scripted = lambda _, call: bad if "count" in call.query else None
        assert calls.read("/Users").ok
        with pytest.raises(DirectoryUnavailable) as told:
            calls.read("/Users", by_count)
        assert sum(slept.pauses) < Pace().nonsense
        assert "a list (startIndex, count)" in told.value.detail
        if bad.status == 500:
            assert "500: count is broken. It was asked several times; no waiting mends that." in told.value.detail
        sloppy.scripted = None
        assert calls.read("/Users", by_count).ok
        sloppy.scripted = lambda *_: bad
        slept.pauses.clear()
        with pytest.raises(DirectoryUnavailable):
            calls.read("/Users", by_count)
        assert Pace().nonsense < sum(slept.pauses) < STRANGER


@pytest.mark.parametrize("status", [400, 405, 501])
def test_a_listing_that_is_refused_ends_at_once_with_the_remotes_own_words(
    sloppy_place: Place, sloppy: Sloppy, status: int
) -> None:
    sloppy.scripted = lambda _, call: error(status, f"{KEY} may not list") if call.path == "/Users" else None
    with pytest.raises(DirectoryUnavailable, match=rf"{status}: \*\*\* may not list\."):
        list(sloppy_place.directory.everyone())
    assert sloppy.count("GET", "/Users") == 1


STACK = 'Traceback (most recent call last):\n  File "app.py", line 529, in w'


@pytest.mark.parametrize(
    ("said", "told"),
    [
        (f"no argument 'x'\n{STACK}", "no argument 'x'"),
        (f"{STACK}\nKeyError: 'x'", "KeyError: 'x'"),
        ("boom\n    at list (/srv/app.js:3:7)\n    at serve (/srv/app.js:9:1)", "boom"),
        ("Failed:\n  at least one e-mail must be primary", "Failed: at least one e-mail must be primary"),
        ("2 errors:\n  title: too long\n  locale: unknown", "2 errors: title: too long locale: unknown"),
        (f"{'x' * 193} {KEY} goes on", f"{'x' * 193} ***"),
    ],
    ids=["stack", "stack alone", "stack of node", "words that begin as one", "lines", "key across the end"],
)
def test_the_remotes_own_words_are_one_line_without_the_programs_stack_and_without_a_part_of_the_key(
    sloppy_place: Place, sloppy: Sloppy, said: str, told: str
) -> None:
    sloppy.scripted = lambda _, call: error(400, said) if call.path == "/Users" else None
    with pytest.raises(DirectoryUnavailable) as caught:
        list(sloppy_place.directory.everyone())
    assert f"with 400: {told}" in caught.value.detail
    assert KEY[:5] not in caught.value.detail


@pytest.mark.parametrize("write", [False, True], ids=["a read", "a write"])
def test_a_pause_that_the_remote_asks_for_ends_when_the_process_is_asked_to_stop(sloppy: Sloppy, write: bool) -> None:
    stop = threading.Event()

    def busy(*_: object) -> Reply:
        threading.Timer(0.1, stop.set).start()
        return Reply(429, **{"Retry-After": "100"})

    sloppy.scripted = busy
    with transport(sloppy.url, stop=stop) as calls, pytest.raises(DirectoryUnavailable, match="asks to wait"):
        calls.write("POST", "/Users", {}) if write else calls.read("/Users")
    assert len(sloppy.calls) == 1


def test_a_pause_that_lasts_is_one_line_in_the_log(sloppy: Sloppy, monkeypatch: pytest.MonkeyPatch) -> None:
    slept = Slept(monkeypatch)
    sloppy.scripted = lambda *_: Reply(503)
    with transport(sloppy.url) as calls, structlog.testing.capture_logs() as said, pytest.raises(DirectoryUnavailable):
        calls.read("/ServiceProviderConfig")
    long = [pause for pause in slept.pauses if pause >= 1]
    loud = [line for line in said if line["log_level"] == "warning"]
    assert [line["wait_s"] for line in loud] == [round(pause, 1) for pause in long]
    assert {line["problem"] for line in loud} == {"answered 503"}
    assert len(said) == len(slept.pauses) > len(loud)


@pytest.mark.parametrize(
    ("status", "problem"),
    [
        (403, r"may not read there \(403: no rights\)\. Set OPSHELM_DIRECTORY__API_KEY"),
        (404, r"no list of accounts there .* /scim/v2"),
    ],
)
def test_a_list_that_is_refused_or_not_there_names_the_setting(sloppy: Sloppy, status: int, problem: str) -> None:
    sloppy.scripted = lambda *_: error(status, "no rights.")
    with transport(sloppy.url) as calls:
        with pytest.raises(DirectoryUnavailable, match=problem):
            calls.read("/Users", {"startIndex": 1})
        # A search may be refused on its own, and nobody has to describe itself.
        assert calls.read("/Users", {"filter": 'userName eq "a"'}).status == status
        assert calls.read("/ServiceProviderConfig").status == status
    assert len(sloppy.calls) == 3


def test_check_asks_a_remote_that_is_down_for_a_few_seconds_alone(
    sqlite_store: Store, sloppy: Sloppy, monkeypatch: pytest.MonkeyPatch
) -> None:
    with remote_place(sqlite_store, Remote(sloppy.url, KEY)) as place:
        sloppy.scripted = lambda *_: Reply(503)
        slept = Slept(monkeypatch)
        (check,) = checks.checks(place.directory, place.now)
        assert (check.state, check.fix) == (CheckState.FAIL, "Try again later.")
        assert sum(slept.pauses) < 4
        place.remote.client.close()


def test_check_says_what_is_wrong_with_an_address_that_is_no_scim_service(sqlite_store: Store, sloppy: Sloppy) -> None:
    with remote_place(sqlite_store, Remote(sloppy.url, KEY)) as place:
        sloppy.scripted = lambda *_: Reply(200, {"hello": "world"})
        (check,) = checks.checks(place.directory, place.now)
        assert check.state is CheckState.FAIL
        assert "directory.base_url" in check.fix
        place.remote.client.close()


def test_a_dripping_answer_ends_with_the_time_out(sloppy: Sloppy) -> None:
    import socket

    listener = socket.create_server(("127.0.0.1", 0))
    stop = threading.Event()

    def drip() -> None:
        while not stop.is_set():
            try:
                peer, _ = listener.accept()
            except OSError:
                return
            with peer:
                peer.recv(65536)
                peer.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
                try:
                    while not stop.wait(0.02):
                        peer.sendall(b" ")
                except OSError:
                    continue

    thread = threading.Thread(target=drip, daemon=True)
    thread.start()
    try:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        with transport(url, timeout=timedelta(seconds=0.3)) as calls, pytest.raises(DirectoryUnavailable):
            calls.read("/Users", patience=0.1)
    finally:
        stop.set()
        listener.close()
        thread.join()


def test_the_key_is_not_sent_to_another_host(sloppy: Sloppy) -> None:
    with sloppy_server() as other:
        sloppy.scripted = lambda *_: Reply(302, Location=f"{other.url}/Users")
        with transport(sloppy.url) as calls, pytest.raises(DirectoryUnavailable, match="another host"):
            calls.read("/Users")
        assert other.calls == []


def test_a_redirect_on_the_same_host_is_followed_for_reads_alone(sloppy: Sloppy) -> None:
    sloppy.scripted = lambda _, call: Reply(307, Location="/ServiceProviderConfig") if call.path == "/Config" else None
    with transport(sloppy.url) as calls:
        assert calls.read("/Config").ok
        with pytest.raises(DirectoryUnavailable, match="redirect"):
            calls.write("POST", "/Config", {})


def test_redirects_on_the_same_host_are_followed_one_after_the_other(sloppy: Sloppy) -> None:
    away = {"/One": "/Two", "/Two": "/ServiceProviderConfig", "/Round": "/Round"}
    sloppy.scripted = lambda _, call: Reply(307, Location=away[call.path]) if call.path in away else None
    with transport(sloppy.url) as calls:
        assert calls.read("/One").ok
        with pytest.raises(DirectoryUnavailable, match="redirects in a circle"):
            calls.read("/Round")


def test_a_wrong_key_is_said_so_and_not_tried_again(sloppy: Sloppy) -> None:
    with (
        transport(sloppy.url, api_key="wrong") as calls,
        pytest.raises(DirectoryUnavailable, match=r"refuses the agent's key.*OPSHELM_DIRECTORY__API_KEY"),
    ):
        calls.read("/Users")
    assert len(sloppy.calls) == 1


def test_neither_key_nor_names_are_in_logs_and_errors(sloppy: Sloppy, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    sloppy.scripted = lambda _, call: Reply(503) if "filter" in call.query else None
    with transport(sloppy.url) as calls:
        calls.read("/ServiceProviderConfig")
        with pytest.raises(DirectoryUnavailable) as caught:
            calls.read("/Users", {"filter": 'userName eq "ann@example.com"'}, patience=0.1)
    said = f"{caplog.text} {caught.value!r} {caught.value.__cause__!r}"
    assert KEY not in said
    assert "ann@example.com" not in said
    assert not [record for record in caplog.records if record.name.startswith("http")]


# F-40: certificates


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path, "ours")


@pytest.mark.parametrize(("days", "state"), [(90, CheckState.OK), (13, CheckState.WARN)])
def test_f40_the_end_of_a_certificate_is_warned_of_in_time(
    authority: Authority, sqlite_store: Store, days: int, state: CheckState
) -> None:
    with sloppy_server(authority.server(ends=timedelta(days=days))) as server:
        remote = Remote(server.url, KEY)
        remote.client.close()
        with remote_place(sqlite_store, remote, ca_file=str(authority.file)) as place:
            found = {check.name: check for check in checks.checks(place.directory, place.now)}
    assert found["remote certificate"].state is state
    assert (f"in {days - 1} days" in found["remote certificate"].detail) is (state is CheckState.WARN)


@pytest.mark.parametrize("days", [13, 15])
def test_f40_a_listing_raises_the_alarm_before_the_certificate_ends(
    authority: Authority, sqlite_store: Store, days: int
) -> None:
    with sloppy_server(authority.server(ends=timedelta(days=days))) as server:
        remote = Remote(server.url, KEY)
        remote.client.close()
        with remote_place(sqlite_store, remote, ca_file=str(authority.file)) as place:
            assert list(place.directory.everyone()) == []
        with sqlite_store.read() as conn:
            assert [alarm.code for alarm in alarms.open_alarms(conn)] == ["remote_certificate"] * (days == 13)
    with sloppy_server(authority.server(ends=timedelta(days=90))) as server:
        remote = Remote(server.url, KEY)
        remote.client.close()
        with remote_place(sqlite_store, remote, ca_file=str(authority.file)) as place:
            assert list(place.directory.everyone()) == []
        with sqlite_store.read() as conn:
            assert alarms.open_alarms(conn) == []


@pytest.mark.parametrize(
    ("server", "trusts", "problem"),
    [
        ({"ends": timedelta(days=-1)}, "ours", "expired.*Renew it"),
        ({"host": "elsewhere.example.com"}, "ours", r"(not valid for|mismatch).*directory\.base_url"),
        ({}, "other", r"(unable to get local issuer|signature failure|self-signed).*directory\.ca_file"),
        ({}, None, r"(unable to get local issuer|self-signed).*directory\.ca_file"),
    ],
    ids=["expired", "another name", "another authority", "no authority named"],
)
def test_f40_a_certificate_that_is_not_right_ends_the_call_unsent(
    authority: Authority, tmp_path: Path, server: dict, trusts: str | None, problem: str
) -> None:
    files = {"ours": authority.file, "other": Authority(tmp_path, "other").file, None: None}
    ca_file = str(files[trusts]) if trusts else None
    with sloppy_server(authority.server(**server)) as remote, transport(remote.url, ca_file=ca_file) as calls:
        with pytest.raises(DirectoryUnavailable, match=f"certificate that isn't trusted: .*({problem})"):
            calls.read("/Users")
        with pytest.raises(DirectoryUnavailable, match="certificate"):
            calls.write("POST", "/Users", {"userName": "ann@example.com"})
        assert remote.calls == []


def test_f40_a_ca_file_without_certificates_is_a_wrong_setting(tmp_path: Path) -> None:
    file = tmp_path / "ca.pem"
    file.write_text("nothing here")
    with pytest.raises(ConfigError, match=r"directory\.ca_file"), transport("https://127.0.0.1:1", ca_file=str(file)):
        pass
