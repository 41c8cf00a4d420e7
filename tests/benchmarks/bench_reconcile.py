"""CPU seconds and peak memory of a reconcile, and fixes a second. Run: python tests/benchmarks/bench_reconcile.py [PEOPLE]

The simulated org is a process of its own, so that its CPU and memory don't count. Nothing here is asserted; the aims are
1.5 CPU seconds and 150 MB for sweep, compare and plan of 100,000 people with 1 % drift, and 10,000 fixes a second.
"""

import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx

from agent.directory import rows
from agent.directory.sql import SqlDirectory
from agent.model.mapping import Mapping, apply
from agent.model.paths import EMAIL_PATH
from agent.model.users import DirectoryUser, Origin, Profile
from agent.okta_org.org import OktaOrg
from agent.reconcile import Reconciler
from agent.reconcile.applier import Applier, Apply, Left
from agent.settings import DatabaseSettings, GuardSettings, OktaSettings, Settings
from agent.store import account
from agent.store.engine import Store

PORT = 8790
RAISED = GuardSettings(
    deactivations_floor=10**6,
    deactivations_cap=10**6,
    window_floor=10**6,
    window_cap=10**6,
    window_percent=100,
    creates_floor=10**6,
    identity_floor=10**6,
    deactivations_percent=100,
)


def main(people: int) -> None:
    command = [sys.executable, "-m", "agent", "simulate", "--port", str(PORT), "--users", str(people)]
    command += ["--rate-limit", "1000000"]  # Okta's own pace is not what is measured
    org = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        _measure(people, _when_ready(f"http://127.0.0.1:{PORT}"))
    finally:
        org.terminate()
        org.wait()


def _when_ready(url: str) -> str:
    for _ in range(600):
        try:
            httpx.get(f"{url}/simulator/tasks", timeout=5)
        except httpx.TransportError:
            time.sleep(0.2)
        else:
            return url
    raise TimeoutError("the simulated org did not start")


def _measure(people: int, url: str) -> None:
    okta_settings = OktaSettings(org_url=url, app_id="0oaOPSHELMSIM0000001", api_token="simulated-token")
    with tempfile.TemporaryDirectory() as folder, OktaOrg.connect(okta_settings) as okta:
        settings = Settings(
            okta=okta_settings, guard=RAISED, database=DatabaseSettings(url=f"sqlite:///{Path(folder)}/a.db")
        )
        store = Store.open(settings.database)
        _load(store, okta, settings)
        reconciler = Reconciler(store, SqlDirectory(store, settings), okta, settings, lambda: datetime.now(UTC))
        reconciler.run(apply=False)  # the simulated org renders each page once
        before = _usage()
        report = _timed(f"dry run of {people:,}, in step", lambda: reconciler.run(apply=False))
        assert not report.drift
        _drift(store, one_in=100)
        _timed(f"dry run of {people:,}, 1 % drift", lambda: reconciler.run(apply=False))
        print(f"  peak memory {_peak_mb():.0f} MB (before the first measured run: {before:.0f} MB)")
        report = _timed("the same, applied", lambda: reconciler.run(apply=True))
        assert report.counts["done"] == people // 100, report
        _drift(store, one_in=max(1, people // 20_000))
        with _apply_timed() as seconds:
            report = _timed("a reconcile with many fixes", lambda: reconciler.run(apply=True))
        fixes = report.counts["done"]
        wall, cpu = seconds
        print(f"  {fixes:,} fixes applied in {wall:.2f} s, {cpu:.2f} CPU s: {fixes / wall:,.0f}/s")
        store.close()


def _load(store: Store, okta: OktaOrg, settings: Settings) -> None:
    """Everybody has an account that is in step."""
    mapping, now = Mapping(settings.mapping), datetime.now(UTC)
    app = okta.app()
    org_id = okta.org_id()
    number = 0
    for page in okta.app_user_pages():
        users = []
        for app_user in page:
            number += 1
            profile = apply(
                Profile(), {**mapping.values(mapping.project_wanted(app_user).mapped), EMAIL_PATH: app_user.user_name}
            )
            users.append(
                DirectoryUser(
                    id=f"account-{number}",
                    user_name=app_user.user_name,
                    profile=profile,
                    active=True,
                    created=now,
                    updated=now,
                    okta_id=app_user.id,
                    origin=Origin.OKTA,
                )
            )
        store.write(lambda conn, users=users: [rows.insert_user(conn, user, mapping) for user in users] and None)
    store.write(lambda conn: account.count(conn, managed_active=number, visible=number))
    store.write(
        lambda conn: account.pin(conn, org_id=org_id, app_id=app.id, app_label=app.label, actor="bench", now=now)
    )


def _drift(store: Store, *, one_in: int) -> None:
    """Titles changed behind Okta's back."""
    from sqlalchemy import text

    statement = (
        "update users set profile = json_set(profile, '$.title', 'x' || (profile ->> '$.title')), mapped = replace(mapped, "
        "json_quote(profile ->> '$.title'), json_quote('x' || (profile ->> '$.title'))) where seq % :one_in = 0"
    )
    store.write(lambda conn: conn.execute(text(statement), {"one_in": one_in}).rowcount)


@contextmanager
def _apply_timed() -> Iterator[list[float]]:
    """Seconds and CPU seconds that applying alone took."""
    seconds: list[float] = []
    original = Applier.apply

    def timed(self: Applier, apply: Apply) -> Left | None:
        started, cpu = time.perf_counter(), time.process_time()
        try:
            return original(self, apply)
        finally:
            seconds.extend((time.perf_counter() - started, time.process_time() - cpu))

    Applier.apply = timed
    try:
        yield seconds
    finally:
        Applier.apply = original


def _timed(what: str, work: Any) -> Any:
    wall, cpu = time.perf_counter(), time.process_time()
    answer = work()
    print(f"{what}: {time.process_time() - cpu:.2f} CPU s, {time.perf_counter() - wall:.2f} s")
    return answer


def _usage() -> float:
    return _peak_mb()


def _peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 100_000)
