"""The simulated org answers as real orgs did: each recording is replayed, with the org's ids for the recorded ones."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
import yaml

from agent.simulator import SimulatedOrg

RECORDINGS = Path(__file__).resolve().parents[4] / "shared" / "okta-recordings"
NAMES = sorted(path.name for path in RECORDINGS.glob("*.yaml")) if RECORDINGS.is_dir() else []
#: Calls that an agent has no use for, and that this org therefore doesn't serve.
NOT_SERVED = ("/sessions", "/grants", "/appLinks", "/api/v1/apps")
#: Real orgs of different years answer these with either; with a body the one, without it the other.
EITHER = {("POST", "deactivate"): {200, 204}}

pytestmark = pytest.mark.skipif(not NAMES, reason="no recordings beside this checkout")


@pytest.fixture
def bare() -> Iterator[SimulatedOrg]:
    """An org whose app provisions nothing, like the apps in the recordings."""
    with SimulatedOrg.start(users=0, seed=7) as org:
        org.set_app(features=[])
        yield org


@pytest.mark.parametrize("name", NAMES)
def test_the_org_answers_as_recorded(bare: SimulatedOrg, name: str) -> None:
    interactions = yaml.load((RECORDINGS / name).read_text(), yaml.CSafeLoader)["interactions"]
    with httpx.Client(base_url=bare.url, headers={"Authorization": f"SSWS {bare.token}"}, trust_env=False) as http:
        replay = Replay(bare, http)
        compared = sum(replay.one(item["request"], item["response"]) for item in interactions)
    assert compared > 0


class Replay:
    """Holds which of our ids stands for which recorded one."""

    def __init__(self, org: SimulatedOrg, http: httpx.Client) -> None:
        self._org = org
        self._http = http
        self._ids: dict[str, str] = {}
        self._next = ""

    def one(self, request: dict[str, Any], response: dict[str, Any]) -> bool:
        """Replay one call; False if it isn't one that the org serves."""
        parts = urlsplit(request["uri"])
        text = response["body"]["string"]
        recorded = json.loads(text) if text else None
        if parts.path.endswith(NOT_SERVED):
            if parts.path == "/api/v1/apps" and isinstance(recorded, dict):
                self._ids[recorded["id"]] = self._org.app_id
                self._org.set_app(status=recorded["status"])
            return False
        path = parts.path + (f"?{parts.query}" if parts.query else "")
        for theirs, ours in self._ids.items():
            path = path.replace(theirs, ours)
        if "after=" in path:
            path = self._next  # Cursors are opaque: each org's own.
        answer = self._http.request(request["method"], path, json=self._body(request, parts.path, recorded))
        self._compare(request["method"], parts.path, response, recorded, answer)
        if request["method"] == "POST" and isinstance(recorded, dict) and "id" in recorded:
            self._ids[recorded["id"]] = answer.json()["id"]
        self._next = next(
            (link[1:].partition(">")[0] for link in answer.headers.get_list("link") if "next" in link), ""
        )
        return True

    def _body(self, request: dict[str, Any], path: str, recorded: Any) -> Any:
        """Old recordings left the bodies out; the answer says what they were."""
        if request["method"] not in ("POST", "PUT") or "/lifecycle/" in path or not isinstance(recorded, dict):
            return None
        if request.get("body"):
            return request["body"] if isinstance(request["body"], dict) else json.loads(request["body"])
        body = {
            key: recorded[key] for key in ("profile", "credentials", "name", "events", "channel") if key in recorded
        }
        if "/apps/" in path and path.endswith("/users"):
            body["id"] = self._ids[recorded["id"]]
        body.get("channel", {}).get("config", {}).get("authScheme", {})["value"] = "hush"
        return body

    def _compare(self, method: str, path: str, response: dict[str, Any], recorded: Any, answer: httpx.Response) -> None:
        what = f"{method} {path}"
        status = response["status"]["code"]
        assert answer.status_code in EITHER.get((method, path.rsplit("/", 1)[-1]), {status}), what
        theirs = {name.lower() for name in response["headers"]}
        wanted = {"date", "x-okta-request-id", "x-rate-limit-limit", "x-rate-limit-remaining", "x-rate-limit-reset"}
        wanted &= theirs
        assert wanted <= set(answer.headers), what
        assert ("link" in theirs) == ("link" in answer.headers), what
        if answer.status_code == status:
            assert bool(answer.content) == bool(recorded is not None), what
            assert ("content-type" in theirs) == ("content-type" in answer.headers), what
            self._compare_bodies(what, recorded, answer.json() if answer.content else None)

    def _compare_bodies(self, what: str, recorded: Any, ours: Any) -> None:
        # ``orn`` and ``universalLogout`` came in later years.
        extra = {"orn", "universalLogout"}
        if isinstance(recorded, list):
            assert isinstance(ours, list), what
            if recorded and ours:
                assert set(recorded[0]) - extra == set(ours[0]) - extra, what
            return
        if not isinstance(recorded, dict):
            return
        assert set(recorded) - extra == set(ours) - extra, what
        for key in ("errorCode", "status", "syncState", "scope", "objectClass", "verificationStatus"):
            if key in recorded:
                assert ours[key] == recorded[key], (what, key)
        for key in ("profile", "_links"):
            if key in recorded and "/apps/" not in what.replace("/users", ""):
                assert set(recorded[key]) <= set(ours[key]) | {"resetFactors"}, (what, key)
        if "errorSummary" in recorded:
            assert _without_ids(recorded["errorSummary"]) == _without_ids(ours["errorSummary"]), what
            assert len(recorded["errorCauses"]) == len(ours["errorCauses"]), what


def _without_ids(text: str) -> str:
    return " ".join(word for word in text.split() if not word.startswith("00"))
