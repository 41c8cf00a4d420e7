"""I8: markers for every secret there is, and then everything that the agent wrote is searched for them.

Real processes with all of their secrets set, used rightly and wrongly: pushes, hooks, runs, wrong settings, refusals by
Okta. Searched are logs, both outputs of every command, answers, pages, metrics, the database with its log, a backup.
"""

import json
import urllib.error
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from agent.simulator import SimulatedOrg
from support.forks import Warm
from support.invariants import no_secret
from support.pusher import Pusher
from support.receiver import okta_user

MARKS = {
    "API token": "MARK-api-token-9f31",
    "hook secret": "MARK-hook-secret-77a0",
    "webhook secret": "MARK-webhook-5d2e",
    "webhook address": "MARK-in-webhook-url-1c",
    "heartbeat address": "MARK-in-heartbeat-url-2d",
    "remote API key": "MARK-remote-key-88b1",
    "client secret": "MARK-client-secret-4c4f",
    "private key": "MARK-private-key-0b6c",
    "database password": "MARK-database-pw-31ab",
    "pushed password": "MARK-pushed-password-66",
    "wrong API key": "oha_MARKwrongkeyXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXX",
    "wrong hook secret": "MARK-wrong-hook-secret",
}


def settings(org: SimulatedOrg) -> dict[str, str]:
    return {
        "OPSHELM_OKTA__ORG_URL": org.url,
        "OPSHELM_OKTA__APP_ID": org.app_id,
        "OPSHELM_OKTA__API_TOKEN": MARKS["API token"],
        "OPSHELM_OKTA__HOOK_SECRET": MARKS["hook secret"],
        "OPSHELM_DIRECTORY__API_KEY": MARKS["remote API key"],
        "OPSHELM_OKTA__MAX_RETRIES": "0",
        "OPSHELM_LOG__LEVEL": "debug",
    }


def wrong(env: Mapping[str, str]) -> list[dict[str, str]]:
    """Settings that are refused, or that can't work: what is said about them must not show what they hold."""
    database = f"postgresql://agent:{MARKS['database password']}@127.0.0.1:9/agent"
    key = {"OPSHELM_OKTA__CLIENT_ID": "0oaCLIENT", "OPSHELM_OKTA__PRIVATE_KEY": MARKS["private key"]}
    notify = {
        "OPSHELM_NOTIFY__WEBHOOK_SECRET": MARKS["webhook secret"],
        "OPSHELM_NOTIFY__WEBHOOK_URL": f"http://127.0.0.1:9/{MARKS['webhook address']}",
        "OPSHELM_NOTIFY__HEARTBEAT_URL": f"http://127.0.0.1:9/{MARKS['heartbeat address']}",
        "OPSHELM_DASHBOARD__CLIENT_SECRET": MARKS["client secret"],
    }
    return [
        {**env, **notify},
        {**env, "OPSHELM_DATABASE__URL": database},
        {**env, "OPSHELM_DATABASE__URL": MARKS["database password"]},
        {**env, **key},
        {
            **{name: value for name, value in env.items() if "API_TOKEN" not in name},
            **key,
            "OPSHELM_OKTA__API_TOKEN": "",
        },
        {**env, "OPSHELM_OKTA": json.dumps({"hook_secrets": MARKS["hook secret"]})},
        {**env, "OPSHELM_OKTA__ORG_URL": f"ftp://{MARKS['API token']}@example.com"},
    ]


@pytest.mark.slow
def test_no_secret_is_in_anything_that_the_agent_wrote(warm: Warm, tmp_path: Path) -> None:
    texts: dict[str, str] = {}
    with SimulatedOrg.start(users=6, token=MARKS["API token"]) as org:
        env = settings(org) | {"OPSHELM_DATABASE__URL": f"sqlite:///{tmp_path}/agent.db"}

        def command(*args: str, env: Mapping[str, str] = env) -> Any:
            done = warm.run(*args, cwd=tmp_path, env=env)
            texts[f"{len(texts)} {' '.join(args)}"] = done.out + done.err
            return done

        assert command("db", "init").code == 0
        key = warm.run("keys", "create", "okta", cwd=tmp_path, env=env).out.strip()
        (tmp_path / "daemon").mkdir()
        daemon = warm.serve(tmp_path / "daemon", env)
        push(daemon.url, key, texts)
        hooks(daemon.url, texts)
        for page in ("/", "/metrics", "/readyz"):
            texts[f"page {page}"] = fetched(f"{daemon.admin}{page}")
        assert command("reconcile", "--apply", "--first-run", "100").code == 0
        org.faults({"method": "GET", "path": "/api/v1/apps/*", "status": 401, "times": None, "body": "no"})
        assert command("reconcile").code == 1
        org.faults()
        for args in (
            ("config", "show"),
            ("config", "show", "--origin"),
            ("--output", "json", "config", "show"),
            ("check",),
            ("journal", "export"),
            ("keys", "list"),
            ("explain", "someone@example.com"),
            ("users", "list"),
            ("findings",),
            ("guard", "show"),
            ("runs", "list"),
            ("plans", "list"),
            ("db", "backup", "backup.db"),
        ):
            command(*args)
        for broken in wrong(env):
            for args in (("config", "show"), ("check",), ("reconcile",), ("keys", "list")):
                command(*args, env=broken)
        assert {"serving", "run ended"} <= {line["event"] for line in daemon.log()}
        assert daemon.stop() == 0
    assert "backup.db" in {file.name for file in tmp_path.iterdir()}
    assert len(texts) > 40
    no_secret(MARKS | {"SCIM key": key}, tmp_path, texts)


def push(url: str, key: str, texts: dict[str, str]) -> None:
    pusher = Pusher(url, key)
    secret = {"password": MARKS["pushed password"]}
    made = pusher.send("POST", "/Users", okta_user("pushed@example.com", **secret))
    assert made is not None
    path = f"/Users/{made.json()['id']}"
    sent = [
        ("POST", "/Users", okta_user("pushed@example.com", **secret)),
        ("POST", "/Users", okta_user("no e-mail", **secret)),
        ("PUT", path, okta_user("pushed@example.com", title="x", **secret)),
        ("PATCH", path, patch("replace", "password", secret["password"])),
        ("PATCH", path, patch("replace", None, secret)),
        ("PATCH", path, patch("add", f'password[value eq "{secret["password"]}"]', "x")),
        ("DELETE", f"/Users/{secret['password']}"[:6], None),
    ]
    for method, target, body in sent:
        answer = pusher.send(method, target, body)
        assert answer is not None
        texts[f"answer {len(texts)}"] = answer.text + str(answer.headers)
    stranger = Pusher(url, MARKS["wrong API key"])
    answer = stranger.send("GET", "/Users")
    assert answer is not None
    assert answer.status == 401
    texts["answer to a stranger"] = answer.text + str(answer.headers)


def patch(op: str, path: str | None, value: Any) -> dict[str, Any]:
    operation = {"op": op, "value": value} | ({} if path is None else {"path": path})
    return {"schemas": ["urn:ietf:params:scim:api:messages:2.0:PatchOp"], "Operations": [operation]}


def hooks(url: str, texts: dict[str, str]) -> None:
    parts = urlsplit(url)
    for name, expected in (("hook secret", 400), ("wrong hook secret", 401)):
        request = urllib.request.Request(
            f"{parts.scheme}://{parts.netloc}/hooks/okta", data=b'{"data": 5}', headers={"Authorization": MARKS[name]}
        )
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                status, text = answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            status, text = error.code, error.read().decode()
        assert status in (expected, 200, 204), text
        texts[f"hook with {name}"] = text


def fetched(url: str) -> str:
    with urllib.request.urlopen(url, timeout=30) as answer:
        return str(answer.read().decode())
