"""The key of the remote is in nothing that the agent says or stores, whatever a remote answers that repeats its caller's headers."""

import json
import logging
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import structlog
from test_remote_gateway import Gateway, gateway

from support.forks import Warm
from support.invariants import no_secret
from support.pusher import new_key
from support.receiver import deactivation, okta_user
from support.remote_company import RemoteCompany, remote_company
from support.sloppy import KEY, Call, Reply, Sloppy, error

SECRETS = {"the remote's key": KEY}


def said(call: Call) -> str:
    """A detail such as a debugging proxy gives."""
    return f"refused: {call.method} {call.path} Authorization: {call.headers.get('authorization', KEY)}"


def echo(status: int, **headers: str) -> Callable[[Call], Reply]:
    def reply(call: Call) -> Reply:
        answer = error(status, said(call))
        body = json.loads(answer.content) | {"scimType": KEY, "headers": call.headers}
        return Reply(status, body, **headers)

    return reply


ANSWERS: dict[str, Callable[[Call], Reply]] = {
    **{str(status): echo(status) for status in (400, 401, 403, 404, 409, 412, 413, 429, 500, 501, 502, 503)},
    "429 with a pause": echo(429, **{"Retry-After": KEY}),
    "redirect elsewhere": echo(302, Location=f"http://{KEY}.example.com/{KEY}"),
    "redirect here": echo(307, Location=f"/Users/{KEY}"),
    "garbage": lambda call: Reply(200, raw=f'{{"id": "{call.headers["authorization"]}", '.encode()),
    "no object": lambda call: Reply(200, raw=call.headers["authorization"].encode()),
    "no list, no user": lambda call: Reply(
        200, {"id": [said(call)], "userName": {"Bearer": KEY}, "Resources": said(call)}
    ),
    "unreadable user": lambda call: Reply(200, {"Resources": [_unreadable(call)], "totalResults": 1}),
    "no answer": lambda _: Reply(cut=0),
    "half an answer": lambda call: Reply(200, {"detail": said(call)}, cut=40),
    "an ETag": lambda call: Reply(400, {"detail": said(call)}, ETag=KEY),
}


def _unreadable(call: Call) -> dict[str, Any]:
    return {"id": "u1", "userName": "kim@example.com", "emails": said(call), "active": said(call), "title": [KEY]}


@pytest.fixture
def logged(capsys: pytest.CaptureFixture[str]) -> Iterator[Callable[[], str]]:
    """Everything that was logged or printed, at the level debug."""
    lines: list[str] = []

    def keep(_: object, __: str, event: Any) -> Any:
        lines.append(repr(event))
        raise structlog.DropEvent

    root = logging.getLogger()
    level = root.level
    handler = logging.StreamHandler()
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    structlog.configure(processors=[structlog.processors.format_exc_info, keep])

    def everything() -> str:
        out, err = capsys.readouterr()
        return "\n".join([*lines, out, err])

    yield everything
    structlog.reset_defaults()
    root.removeHandler(handler)
    root.setLevel(level)


@pytest.fixture
def gate(tmp_path: Path) -> Iterator[Gateway]:
    with gateway(tmp_path, users=3) as found:
        found.world.first_run()
        yield found


def calls(gate: Gateway, user_id: str) -> Iterator[str]:
    """What Okta is answered, status line and all, to each kind of call."""
    for method, path, body in (
        ("GET", "/Users?startIndex=1&count=10", None),
        ("GET", '/Users?filter=userName eq "bob@example.com"', None),
        ("GET", f"/Users/{user_id}", None),
        ("PUT", f"/Users/{user_id}", okta_user("ann@example.com", title="Chief")),
        ("PATCH", f"/Users/{user_id}", deactivation()),
        ("POST", "/Users", okta_user("bob@example.com", externalId="00u2")),
    ):
        answer = gate.send(method, path, body)
        yield f"{method} {path}: {answer.status_code} {answer.headers} {answer.text}"


@pytest.mark.parametrize("reads", [True, False], ids=["every call", "writes alone"])
def test_the_key_is_in_nothing_that_is_said_or_stored(
    gate: Gateway, tmp_path: Path, logged: Callable[[], str], reads: bool
) -> None:
    gate.world.directory.transport.most_patience = 0.03
    user_id = gate.create("ann@example.com", externalId="00u1")
    person = gate.world.people()[0]["okta_id"]
    texts: dict[str, str] = {}
    for name, answer in ANSWERS.items():
        echoed: list[Call] = []
        gate.server.scripted = partial(_answered, answer, echoed, reads=reads)
        texts[f"answers: {name}"] = "\n".join(calls(gate, user_id))
        gate.world.org.set_app_user(person, profile={"title": name})
        texts[f"report: {name}"] = repr(gate.world.reconcile())
        gate.world.reconciler.look(apply=True)
        assert echoed, name
    texts["log"] = logged()
    # Of a change that is refused, Okta and the operator read what the remote says.
    assert reads or all("***" in texts[f"{where}: 400"] for where in ("answers", "report"))
    no_secret(SECRETS, tmp_path, texts)


def _answered(
    answer: Callable[[Call], Reply], echoed: list[Call], _: Sloppy, call: Call, *, reads: bool
) -> Reply | None:
    if not (reads or call.writes):
        return None
    echoed.append(call)
    return answer(call)


# Commands and the daemon, as processes


@pytest.fixture(scope="module")
def company(tmp_path_factory: pytest.TempPathFactory, warm: Warm) -> Iterator[RemoteCompany]:
    with remote_company(tmp_path_factory.mktemp("company"), warm) as made:
        yield made


COMMANDS = (
    ("config", "show", "--origin"),
    ("check",),
    ("reconcile",),
    ("reconcile", "--apply"),
    ("users", "list"),
    ("findings",),
    ("explain", "joiner@example.com"),
    ("users", "add", "new@example.com"),
    ("runs", "list"),
    ("plans", "list"),
    ("journal", "export"),
)


@pytest.mark.slow
@pytest.mark.parametrize("status", [400, 401, 403])
def test_no_command_and_no_daemon_says_the_key(company: RemoteCompany, tmp_path: Path, status: int) -> None:
    import httpx

    case = company.case(tmp_path)
    env = case.env(OPSHELM_LOG__LEVEL="debug", OPSHELM_SCHEDULE__RECONCILE="off")
    okta_key = new_key(env["OPSHELM_DATABASE__URL"])
    case.server.scripted = lambda _, call: echo(status)(call) if status != 400 or call.writes else None
    texts: dict[str, str] = {}
    daemon = company.warm.serve(tmp_path, env)
    try:
        with httpx.Client(base_url=daemon.url, headers={"Authorization": f"Bearer {okta_key}"}) as okta:
            body = okta_user("pushed@example.com", externalId="00uPUSHED")
            texts["push"] = okta.post("/Users", json=body).text
            texts["admin"] = httpx.get(f"{daemon.admin}/metrics").text
    finally:
        assert daemon.stop() == 0
    texts["daemon"] = (tmp_path / "stderr.txt").read_text() + (tmp_path / "stdout.txt").read_text()
    for command in COMMANDS:
        for output in ("text", "json"):
            done = case.run(*command, "--output", output, OPSHELM_LOG__LEVEL="debug")
            texts[f"{' '.join(command)} {output}"] = done.out + done.err
            assert "Traceback" not in done.err, done.err
    assert ("***" in texts["push"]) is (status == 400)
    no_secret(SECRETS, tmp_path, texts)
