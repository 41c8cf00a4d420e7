"""The daemon among clients that are silent, slow or too many, and over a restart with a socket that stays open."""

import contextlib
import http.client
import json
import os
import resource
import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from support.processes import Daemon
from support.pusher import ROOMY, Pusher, new_key
from support.receiver import okta_user

#: The limit that Linux gives to a process by default, and no way to raise it.
FILES = 1024
SILENT = 1100
LITTLE = ["sh", "-c", f'ulimit -n {FILES}; exec "$@"', "sh"]
#: As systemd passes a socket (sd_listen_fds(3)); it must be descriptor 3 then.
PASSED = ["bash", "-c", 'exec 3<&"$SOCKET"; export LISTEN_PID=$$ LISTEN_FDS=1; exec "$@"', "bash"]


@contextmanager
def connections(url: str, count: int) -> Iterator[list[socket.socket]]:
    parts = urlsplit(url)
    with ExitStack() as stack:
        yield [
            stack.enter_context(socket.create_connection((parts.hostname, parts.port), timeout=30))
            for _ in range(count)
        ]


def until_refused(url: str) -> None:
    """The daemon stops: it takes no new connections; one that waits to be taken at that moment is reset."""
    with contextlib.suppress(ConnectionRefusedError, ConnectionResetError):
        while True:
            with connections(url, 1):
                pass


@pytest.fixture
def many_files() -> Iterator[None]:
    """For the test's own side of the connections."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(4096, hard), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.usefixtures("many_files")
def test_pushes_go_on_among_more_silent_connections_than_there_are_files(sqlite_url: str, tmp_path: Path) -> None:
    key = new_key(sqlite_url)
    with Daemon(tmp_path, ROOMY | {"OPSHELM_DATABASE__URL": sqlite_url}, under=LITTLE) as daemon:
        pusher = Pusher(daemon.url, key)
        with connections(daemon.url, SILENT), connections(daemon.admin, 150):
            assert [answer and answer.status for answer in map(pusher.create, range(20))] == [201] * 20
            with connections(daemon.url, 50):
                assert [answer and answer.status for answer in map(pusher.create, range(20, 40))] == [201] * 20
            admin = http.client.HTTPConnection(urlsplit(daemon.admin).netloc, timeout=30)
            admin.request("GET", "/readyz")
            assert admin.getresponse().status == 200
            admin.close()
        assert pusher.lost == 0
        assert daemon.stop() == 0
    assert not [line for line in daemon.events if line["event"].startswith("no room")]


@pytest.mark.slow
@pytest.mark.usefixtures("many_files")
def test_clients_that_send_crumbs_are_cut_off_and_stop_nobody(sqlite_url: str, tmp_path: Path) -> None:
    key = new_key(sqlite_url)
    body = json.dumps({"schemas": ["x"], "userName": "x" * 500})
    head = f"POST /scim/v2/Users HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {key}\r\nContent-Type: application/scim+json\r\n"
    over = threading.Event()
    with Daemon(tmp_path, ROOMY | {"OPSHELM_DATABASE__URL": sqlite_url}, under=LITTLE) as daemon:
        pusher = Pusher(daemon.url, key)
        with connections(daemon.url, 120) as heads, connections(daemon.url, 120) as bodies:
            crumbs = {one: iter(head) for one in heads}
            for one in bodies:
                one.sendall(f"{head}Content-Length: {len(body)}\r\n\r\n".encode())
                crumbs[one] = iter(body)
            living = dict(crumbs)
            number = 0
            while living:
                for one, rest in list(living.items()):
                    try:
                        one.sendall(next(rest).encode())
                    except OSError:
                        del living[one]
                answer = pusher.create(number)
                assert answer is not None
                assert answer.status == 201
                number += 1
                over.wait(0.1)
        assert number > 20
        assert daemon.stop() == 0


@pytest.fixture
def held() -> Iterator[socket.socket]:
    """A listening socket that outlives the daemons, as systemd's does."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(64)
        yield listener


def with_socket(listener: socket.socket, folder: Path, url: str) -> Daemon:
    env = ROOMY | {"OPSHELM_DATABASE__URL": url, "SOCKET": str(listener.fileno())}
    return Daemon(folder, env, under=PASSED, files=[listener.fileno()])


def test_what_connects_while_the_daemon_restarts_waits_and_is_answered(
    held: socket.socket, sqlite_url: str, tmp_path: Path
) -> None:
    key = new_key(sqlite_url)
    port = held.getsockname()[1]
    pusher = Pusher(f"http://127.0.0.1:{port}/scim/v2", key)
    with with_socket(held, tmp_path, sqlite_url) as daemon:
        assert urlsplit(daemon.url).port == port
        assert pusher.create(1).status == 201  # type: ignore[union-attr]
        assert daemon.stop() == 0
    waiting = threading.Thread(target=pusher.create, args=(2,))
    waiting.start()
    with with_socket(held, tmp_path, sqlite_url) as daemon:
        waiting.join(30)
        assert pusher.statuses == [201, 201]
        daemon.stop(signal.SIGKILL)
    assert pusher.lost == 0


def test_sigterm_finishes_what_has_begun_before_it_closes(sqlite_url: str, tmp_path: Path) -> None:
    key = new_key(sqlite_url)
    body = json.dumps(okta_user("last@example.com")).encode()
    with Daemon(tmp_path, ROOMY | {"OPSHELM_DATABASE__URL": sqlite_url}) as daemon:
        with connections(daemon.url, 2) as (half_head, half_body):
            head = (
                f"POST /scim/v2/Users HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {key}\r\n"
                f"Content-Type: application/scim+json\r\nContent-Length: {len(body)}\r\n\r\n"
            ).encode()
            half_body.sendall(head + body[:20])
            half_head.sendall(b"GET /healthz HTTP/1.1\r\n")
            # Its answer proves that the two before it were read.
            Pusher(daemon.url, key).create(1)
            os.kill(daemon.process.pid, signal.SIGTERM)
            until_refused(daemon.url)
            half_head.sendall(b"Host: x\r\n\r\n")
            half_body.sendall(body[20:])
            assert half_head.recv(4096).startswith(b"HTTP/1.1 200")
            assert half_body.recv(4096).startswith(b"HTTP/1.1 201")
        assert daemon.process.wait(60) == 0
