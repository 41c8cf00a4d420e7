"""Who has access, and who had at a moment of the past; who lost it how fast; signed, as files."""

import csv
import io
import json
import os
import random
import stat
import subprocess
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from agent.cli.root import run
from agent.directory.port import Draft, WriteContext
from agent.directory.sql import SqlDirectory
from agent.model.codes import Source
from agent.model.errors import AgentError
from agent.model.users import Name, Profile, Role
from agent.reports import access as reports
from agent.settings import Settings
from agent.store import history, retention, seal
from agent.store.engine import Store
from support.world import World, open_world

START = datetime(2026, 1, 1, tzinfo=UTC)
SEEN = ("user_name", "external_id", "active", "role", "origin", "protected", "suspended", "hidden")
EXEMPT = WriteContext(actor="run 1", source=Source.SWEEP, exempt=True)


def now_of(directory: SqlDirectory) -> dict[str, tuple[Any, ...]]:
    everybody = [user for page in directory.everyone() for user in page]
    return {
        user.id: (
            user.user_name,
            user.okta_id,
            user.active,
            user.role.value,
            user.origin.value,
            user.protected,
            user.suspended,
            user.hidden,
        )
        for user in everybody
    }


def rebuilt(store: Store, at: datetime) -> dict[str, tuple[Any, ...]]:
    with store.read() as conn:
        return {one.directory_id: tuple(getattr(one.head, k) for k in SEEN) for one in history.accounts_at(conn, at)}


def something(directory: SqlDirectory, draw: random.Random, n: int, at: datetime) -> None:
    """One change that may be refused."""
    ids = list(now_of(directory))
    acts = directory.operator(actor="operator a@b", reason="because", now=at)
    draft = Draft(user_name=f"p{n}@example.com", profile=Profile(name=Name(given_name="P", family_name=str(n))))
    if len(ids) < 4 or draw.random() < 0.2:
        if draw.random() < 0.5:
            directory.create(with_okta_id(draft, f"00u{n:017}"), EXEMPT, at).result()
        else:
            acts.add(f"l{n}@example.com", owner=draw.random() < 0.5)
        return
    who = draw.choice(ids)
    change: list[Callable[[], Any]] = [
        lambda: acts.set_role(who, draw.choice(list(Role))),
        lambda: acts.deactivate(who),
        lambda: acts.reactivate(who),
        lambda: acts.link(who, f"00u{n:017}"),
        lambda: acts.unlink(who),
        lambda: acts.protect(who, protected=draw.random() < 0.5),
        lambda: acts.rename(who, f"r{n}@example.com"),
        lambda: acts.release_name(who),
        lambda: directory.remove(who, EXEMPT, at).result(),
    ]
    draw.choice(change)()


def with_okta_id(draft: Draft, okta_id: str) -> Draft:
    return Draft(user_name=draft.user_name, profile=draft.profile, okta_id=okta_id)


@pytest.mark.parametrize("seed", [1, 2])
def test_the_past_is_rebuilt_as_it_was(store: Store, seed: int) -> None:
    draw, directory = random.Random(seed), SqlDirectory(store, Settings())
    moments: list[tuple[datetime, dict[str, tuple[Any, ...]]]] = [(START, {})]
    for n in range(120):
        at = START + timedelta(minutes=n + 1)
        try:
            something(directory, draw, n, at)
        except AgentError:
            continue
        moments.append((at, now_of(directory)))
    assert len(moments) > 60
    for _ in range(100):
        at = START + timedelta(seconds=draw.uniform(0, 121 * 60))
        then = next(state for moment, state in reversed(moments) if moment <= at)
        assert rebuilt(store, at) == then, at
    with store.read() as conn:
        current = {one.directory_id: one.head.active for one in history.accounts_now(conn, at)}
    assert current == {key: state[2] for key, state in now_of(directory).items()}


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("access")
    with open_world(folder, users=8) as w:
        group = w.org.api("POST", "/groups", {"profile": {"name": "Eng <b>"}})["id"]
        w.org.api("PUT", f"/apps/{w.org.app_id}/groups/{group}", {})
        by_group = w.okta_user("group@example.com", "Grace", "Group")
        w.org.api("PUT", f"/groups/{group}/users/{by_group}")
        w.first_run()
        people = [p for p in w.people() if p["app_user"] and p["login"] != "group@example.com"]
        gone, off = people[0], people[1]
        w.gone, w.off = gone["login"], off["login"]
        w.org.api("DELETE", f"/apps/{w.org.app_id}/users/{gone['okta_id']}")
        w.org.api("POST", f"/users/{off['okta_id']}/lifecycle/deactivate")
        w.ahead = timedelta(hours=3)
        assert w.reconcile().outcome == "applied"
        w.local("=cmd@example.com", owner=True)
        w.acts().protect(w.account("=cmd@example.com").id, protected=True)
        file = folder / "agent.toml"
        file.write_text(
            f'[okta]\norg_url = "{w.org.url}"\napp_id = "{w.org.app_id}"\napi_token = "{w.org.token}"\n'
            f'[database]\nurl = "sqlite:///{folder}/agent.db"\n'
        )
        w.folder = folder
        yield w


def report(w: World, *args: str) -> int:
    return run(["--config", str(w.folder / "agent.toml"), "report", *args])


def of(w: World, **more: Any) -> reports.AccessReport:
    now = w.now()
    evidence = reports.ask_okta(w.okta, w.org.app_id, now - timedelta(days=1), None, now=now)
    return reports.access(w.store, evidence, at=None, since=now - timedelta(days=1), now=now, **more)


def test_it_says_who_has_access_and_by_what(world: World) -> None:
    found = {person.login: person for person in of(world).people}
    assert world.gone not in found
    assert found["group@example.com"].assigned == "by group Eng <b>"
    others = [one for login, one in found.items() if login.endswith("example.com") and one.okta_id]
    assert {one.assigned for one in others if one.login != "group@example.com"} == {"directly"}
    assert all(one.access_since and one.access_by and one.journal_row for one in found.values())
    local = found["=cmd@example.com"]
    assert (local.role, local.linked, local.protected) == ("owner", "local, not Okta's", "yes")
    assert local.role_by == local.access_by == "operator"


def test_exceptions_are_told(world: World) -> None:
    found = [(one.what, one.login) for one in of(world).exceptions]
    assert ("local", "=cmd@example.com") in found
    assert ("protected", "=cmd@example.com") in found


def test_how_long_a_leaver_kept_access_is_measured_from_okta_s_word(world: World) -> None:
    lost = of(world).lost
    assert {one.login for one in lost.people} == {world.gone, world.off}
    assert lost.measured == lost.count == 2
    assert all(3 * 3600 - 60 < (one.seconds or 0) < 3 * 3600 + 600 for one in lost.slowest)
    assert lost.median_seconds is not None
    assert lost.p99_seconds == max(one.seconds or 0 for one in lost.people)


def test_a_moment_before_shows_who_had_access_then(world: World) -> None:
    now = world.now()
    then = reports.access(
        world.store, reports.NOT_ASKED, at=now - timedelta(hours=2), since=now - timedelta(days=1), now=now
    )
    logins = {person.login for person in then.people}
    assert {world.gone, world.off} < logins
    assert "=cmd@example.com" not in logins
    assert then.lost.count == 0


def test_signed_files_are_checked_and_a_changed_one_is_found(
    world: World, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "access.csv"
    assert report(world, "access", "--offline", "--format", "csv", "--out", str(out)) == 0
    assert "not signed" in capfd.readouterr().err
    assert report(world, "verify", str(out)) == 1
    assert report(world, "key") == 0
    key = world.folder / "report-key.pem"
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    public = tmp_path / "public.pem"
    public.write_text(capfd.readouterr().out)
    assert report(world, "access", "--offline", "--format", "csv", "--out", str(out)) == 0
    assert report(world, "verify", str(out)) == 0
    assert report(world, "verify", str(out), "--key", str(public)) == 0
    signed = ["openssl", "pkeyutl", "-verify", "-pubin", "-inkey", str(public), "-rawin", "-in", str(out)]
    assert subprocess.run([*signed, "-sigfile", f"{out}.sig"], check=False, capture_output=True).returncode == 0
    rows = list(csv.DictReader(io.StringIO(out.read_text())))
    assert "'=cmd@example.com" in {row["login"] for row in rows}
    out.write_text(out.read_text().replace("member", "owner", 1))
    assert report(world, "verify", str(out)) == 1


def test_html_runs_nothing_and_needs_nothing(world: World, capfd: pytest.CaptureFixture[str]) -> None:
    assert report(world, "access", "--format", "html") == 0
    page = capfd.readouterr().out
    assert "by group Eng &lt;b&gt;" in page
    assert "<script" not in page
    assert "http" not in page.replace("https://", "")
    assert "Okta was asked" in page


def test_a_moment_from_before_what_okta_s_log_keeps_is_no_error(
    world: World, capfd: pytest.CaptureFixture[str]
) -> None:
    assert report(world, "access", "--at", "2020-03-31T00:00Z") == 0
    assert "Okta was not asked: its log keeps 90 days." in capfd.readouterr().out
    assert report(world, "access", "--since", "700d") == 0


def test_on_a_terminal_the_facts_are_enough(world: World, capfd: pytest.CaptureFixture[str]) -> None:
    assert report(world, "access") == 0
    said = capfd.readouterr().out
    assert "Exceptions" in said
    assert "=cmd@example.com" in said
    assert "group@example.com" not in said


def test_the_file_s_ending_says_the_format(world: World, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert report(world, "access", "--offline", "--out", str(tmp_path / "a.csv")) == 0
    assert (tmp_path / "a.csv").read_text().startswith("login,")
    assert report(world, "access", "--offline", "--out", str(tmp_path / "a.doc")) == 2
    assert "say --format" in capfd.readouterr().err


def test_a_program_is_told_of_the_file_and_gets_the_format_that_its_name_says(
    world: World, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "a.csv"
    assert report(world, "--output", "json", "access", "--offline", "--out", str(out)) == 0
    told = json.loads(capfd.readouterr().out)
    assert (told["kind"], told["file"], told["format"]) == ("report_file", str(out), "csv")
    assert out.read_text().startswith("login,")


def test_a_report_takes_the_place_of_files_alone(
    world: World, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    pipe, link, target = tmp_path / "pipe.csv", tmp_path / "link.csv", tmp_path / "target.csv"
    os.mkfifo(pipe)
    assert report(world, "access", "--offline", "--out", str(pipe)) == 2
    assert "is no file" in capfd.readouterr().err
    assert pipe.is_fifo()
    target.touch()
    link.symlink_to(target)
    assert report(world, "access", "--offline", "--out", str(link)) == 0
    assert link.is_symlink()
    assert target.read_text().startswith("login,")
    assert not list(tmp_path.glob("*.partial"))


def test_json_names_the_journal_s_head(world: World, capfd: pytest.CaptureFixture[str]) -> None:
    seal.seal(world.store, world.now())
    assert report(world, "access", "--offline", "--format", "json") == 0
    found = json.loads(capfd.readouterr().out)
    with world.store.read() as conn:
        assert seal.verify(conn, head=found["basis"]["journal_head"]).problems == []
    assert found["kind"] == "report_access"
    assert found["basis"]["unsealed"] == 0


def test_a_pdf_is_written_where_the_extra_is(world: World, tmp_path: Path) -> None:
    out = tmp_path / "access.pdf"
    assert report(world, "access", "--offline", "--format", "pdf", "--out", str(out)) == 0
    assert out.read_bytes().startswith(b"%PDF-")


def test_changes_of_a_period_are_told_attribute_by_attribute(world: World) -> None:
    from agent.reports import changes

    now = world.now()
    found = changes.changes(world.store, since=now - timedelta(days=1), until=now, now=now)
    ended = next(row for row in found.changes if row.verb == "deactivate" and row.login == world.gone)
    assert "active: true → false" in ended.changed
    assert ended.through.startswith("run ")
    assert found.counts["deactivate"] == 2
    assert changes.changes(world.store, since=START, until=START, now=now).changes == []


def test_nobody_says_what_was_where_the_journal_let_go(tmp_path: Path) -> None:
    with open_world(tmp_path, users=3) as w:
        w.first_run()
        seal.seal(w.store, w.now())
        kept = w.settings.retention.model_copy(update={"journal": timedelta(), "export_dir": str(tmp_path / "old")})
        assert retention.keep_within(w.store, kept, w.now() + timedelta(seconds=1)) == 1
        past = w.now() - timedelta(hours=1)
        with pytest.raises(AgentError, match="exported blocks"):
            reports.access(w.store, reports.NOT_ASKED, at=past, since=past, now=w.now())
        now = w.now()
        found = reports.access(w.store, reports.NOT_ASKED, at=None, since=now, now=now)
        assert len(found.people) == 3
        assert {one.what for one in found.exceptions} == {"unexplained"}
        assert w.sql("SELECT count(*) FROM journal").scalar() == 0
