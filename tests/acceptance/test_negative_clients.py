"""Every stored negative case with target "client": what a hostile or broken Okta, or remote OpsHelm, answers to the agent.

The cases lie beside the repository; each has a runner here. A runner's world is in this process, and all that it logs is read.
"""

import copy
import json
import logging
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from agent.model.errors import ConfigError, DirectoryUnavailable
from agent.reconcile import RunReport
from agent.settings import load
from support.remotes import Remote
from support.sloppy import KEY, Call, Reply, Sloppy, sloppy_server
from support.world import World, open_world

_FILE = Path(__file__).parents[3] / "shared" / "negative-cases.json"
CASES = (
    [case for case in json.loads(_FILE.read_text())["cases"] if case["target"] == "client"] if _FILE.exists() else []
)


class Place:
    """Makes the worlds of a case, and ends them."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        self.folder, self.stack = folder, stack

    def embedded(self) -> World:
        made = self.stack.enter_context(open_world(self.folder, 6, retries=0))
        made.first_run()
        return made

    def remote(self) -> tuple[World, Sloppy]:
        sloppy = self.server()
        remote = Remote(sloppy.url, KEY)
        self.stack.enter_context(remote.client)
        made = self.stack.enter_context(open_world(self.folder, 6, remote=remote))
        made.first_run()
        sloppy.calls.clear()
        return made, sloppy

    def server(self) -> Sloppy:
        return self.stack.enter_context(sloppy_server())


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    with ExitStack() as stack:
        yield Place(tmp_path, stack)


@pytest.mark.skipif(not CASES, reason="negative-cases.json is not beside the repository")
@pytest.mark.parametrize("case", CASES, ids=lambda case: case["id"])
def test_case(
    case: dict[str, Any], place: Place, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.DEBUG)
    RUNNERS[case["id"]](place)
    said = caplog.text + "".join(capfd.readouterr())
    assert not [secret for secret in ("simulated-token", KEY) if secret in said]


def change_title(w: World, person: dict[str, Any]) -> None:
    w.org.api("POST", f"/users/{person['okta_id']}", {"profile": {"title": "Captain"}})


def ends_without_a_change(w: World, *outcomes: str) -> RunReport:
    before, rows = w.accounts(), w.journal_rows()
    report = w.reconcile()
    assert report.outcome in outcomes, report.detail
    assert report.exit_code == 1
    assert (w.accounts(), w.journal_rows()) == (before, rows)
    return report


def _okta_redirects(place: Place) -> None:
    w, elsewhere = place.embedded(), place.server()
    change_title(w, w.people()[0])
    for path in ("/api/v1/apps/*/users", "/api/v1/apps/*", "/api/v1/*"):
        for status in (302, 307):
            to = {"Location": f"{elsewhere.url}/stolen"}
            w.org.faults({"method": "GET", "path": path, "times": None, "status": status, "headers": to})
            report = ends_without_a_change(w, "incomplete", "frozen")
            assert w.org.token not in report.detail
    assert elsewhere.calls == []
    w.org.faults()
    assert w.reconcile().outcome == "applied"


def _link_local_address(place: Place) -> None:
    for host in ("169.254.169.254", "[fe80::1]", "[::ffff:169.254.169.254]", "2852039166", "0xa9fea9fe"):
        for scheme in ("https", "http"):
            file = place.folder / "wrong.toml"
            address = f"{scheme}://{host}/scim/v2"
            file.write_text(f'[directory]\nbackend = "scim"\nbase_url = "{address}"\napi_key = "{KEY}"\n')
            with pytest.raises(ConfigError, match=r"directory\.base_url: must ") as caught:
                load(file)
            assert KEY not in caught.value.detail
    w, sloppy = place.remote()
    sloppy.scripted = lambda _, call: Reply(302, Location=f"http://169.254.169.254{call.path}")
    with pytest.raises(DirectoryUnavailable) as caught_there:
        w.directory.get("u000001")
    assert KEY not in caught_there.value.detail


def _another_account_is_answered(place: Place) -> None:
    w, sloppy = place.remote()
    asked, other, changed = w.people()[:3]
    for person in (asked, changed):
        change_title(w, person)
    ids = {login: user.id for login, user in w.accounts().items()}
    before = copy.deepcopy(sloppy.users)

    def another(_: Sloppy, call: Call) -> Reply | None:
        mixed_up = call.path == f"/Users/{ids[asked['login']]}"
        return Reply(200, sloppy.users[ids[other["login"]]]) if mixed_up else None

    sloppy.scripted = another
    report = w.reconcile()
    assert report.exit_code == 5
    assert report.counts["failed"] == 1
    sloppy.scripted = None
    written = {user_id for user_id, user in sloppy.users.items() if user != before[user_id]}
    assert written == {ids[changed["login"]]}
    assert {login: user.okta_id for login, user in w.accounts().items()} == {
        person["login"]: person["okta_id"] for person in w.people()
    }


def _endless_empty_pages(place: Place) -> None:
    w, sloppy = place.remote()
    for person in w.people()[:2]:
        w.org.api("DELETE", f"/apps/{w.org.app_id}/users/{person['okta_id']}")
    before = copy.deepcopy(sloppy.users)
    sloppy.shape_list = lambda body: body | {"totalResults": 1_000_000, "Resources": []}
    report = w.reconcile()
    assert (report.outcome, report.exit_code) == ("incomplete", 1)
    assert sloppy.count("GET") < 10
    assert sloppy.users == before


def _signs_in_a_login(place: Place) -> None:
    w = place.embedded()
    *odd, fine = w.people()[:4]
    for person, sign in zip(odd, ("\u202e", "\x07", "\u2066"), strict=True):
        name = f"{sign}{person['login']}"
        w.org.set_app_user(person["okta_id"], credentials={"userName": name})
    change_title(w, fine)
    report = w.reconcile()
    for person in odd:
        assert w.actions_for(report, person["okta_id"]) == [("update", "name_invalid")]
        assert w.account(person["login"]).active
    assert w.account(fine["login"]).profile.title == "Captain"


def _two_people_with_one_name(place: Place) -> None:
    w = place.embedded()
    one, two, fine = w.people()[:3]
    w.org.set_app_user(two["okta_id"], credentials={"userName": one["login"].upper()})
    change_title(w, fine)
    report = w.reconcile()
    assert report.plan is not None
    held = {action.login for action in report.plan.plan.actions if action.held == "identity_conflict"}
    assert {login.lower() for login in held} == {one["login"], two["login"]}
    assert {one["login"], two["login"]} <= w.accounts().keys()
    assert w.account(fine["login"]).profile.title == "Captain"


RUNNERS: dict[str, Callable[[Place], None]] = {
    "NC-213": _okta_redirects,
    "NC-215": _link_local_address,
    "NC-216": _another_account_is_answered,
    "NC-218": _endless_empty_pages,
    "NC-220": _signs_in_a_login,
    "NC-221": _two_people_with_one_name,
}
