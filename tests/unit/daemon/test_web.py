"""Whom the two listeners take for the client, and which sockets they take from systemd."""

import asyncio
import os
import socket
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import httpx
import pytest

from agent.daemon.web import CannotListen, Web, WebServers, listen, passed_listener


async def who(scope: Any, receive: Any, send: Any) -> None:
    """Answers with the client's address."""
    if scope["type"] == "lifespan":
        while (await receive())["type"] == "lifespan.startup":
            await send({"type": "lifespan.startup.complete"})
        await send({"type": "lifespan.shutdown.complete"})
        return
    await send({"type": "http.response.start", "status": 200, "headers": [(b"connection", b"close")]})
    await send({"type": "http.response.body", "body": scope["client"][0].encode()})


def test_on_the_admin_port_a_proxy_says_nothing_about_who_is_local() -> None:
    async def run() -> list[str]:
        receiver, admin = (listen("127.0.0.1", 0, "server.port") for _ in range(2))
        servers = WebServers(Web(who, receiver, ["127.0.0.0/8"]), Web(who, admin))
        addresses = [f"http://127.0.0.1:{listener.getsockname()[1]}" for listener in (receiver, admin)]
        serving = asyncio.create_task(servers.serve())
        async with httpx.AsyncClient(headers={"X-Forwarded-For": "203.0.113.7"}) as client:
            seen = [(await client.get(address)).text for address in addresses]
        servers.stop()
        await serving
        return seen

    assert asyncio.run(run()) == ["203.0.113.7", "127.0.0.1"]


@pytest.fixture
def third() -> Iterator[None]:
    """Keeps descriptor 3, whatever it is here."""
    kept = os.dup(3)
    yield
    os.dup2(kept, 3)
    os.close(kept)


@pytest.mark.usefixtures("third")
def test_a_socket_that_is_none_of_tcp_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket(socket.AF_UNIX) as wrong:
        os.dup2(wrong.fileno(), 3)
    monkeypatch.setenv("LISTEN_PID", str(os.getpid()))
    monkeypatch.setenv("LISTEN_FDS", "1")
    with pytest.raises(CannotListen, match="ListenStream must be ADDRESS:PORT"):
        passed_listener()


def test_several_sockets_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LISTEN_PID", str(os.getpid()))
    monkeypatch.setenv("LISTEN_FDS", "2")
    with pytest.raises(CannotListen, match="must have one ListenStream"):
        passed_listener()


def test_sockets_for_another_process_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LISTEN_PID", "1")
    monkeypatch.setenv("LISTEN_FDS", "1")
    assert passed_listener() is None
    with closing(listen("127.0.0.1", 0, "server.port")) as own:
        assert own.getsockname()[1]
