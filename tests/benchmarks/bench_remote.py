"""CPU seconds and peak memory of a reconcile with a remote OpsHelm. Run: python tests/benchmarks/bench_remote.py [--first] [PEOPLE]

The simulated org and the remote are processes of their own, so that their CPU and memory don't count. Everybody is linked
and in step but for 1 %, which is repaired; with --first nobody is linked yet, and the remote is asked 25 times a second, as it
is by default. Nothing here is asserted; the aims for 100,000 people are 10 CPU seconds and
250 MB for the agent, which lists, compares and repairs.
"""

import json
import resource
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx

sys.path.insert(0, str(Path(__file__).parents[1]))

from agent.directory.remote.directory import RemoteDirectory
from agent.model.mapping import Mapping, apply
from agent.model.paths import EMAIL_PATH
from agent.model.users import Profile
from agent.okta_org.org import OktaOrg
from agent.reconcile import Reconciler
from agent.settings import DatabaseSettings, DirectorySettings, GuardSettings, OktaSettings, Settings
from agent.store import account
from agent.store.engine import Store
from agent.store.tables import departed
from support.sloppy import KEY, sloppy_server

PORT = 8791
ORG = f"http://127.0.0.1:{PORT}"
OKTA = OktaSettings(org_url=ORG, app_id="0oaOPSHELMSIM0000001", api_token="simulated-token")
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


def main(people: int, *, first: bool) -> None:
    command = [sys.executable, "-m", "agent", "simulate", "--port", str(PORT), "--users", str(people)]
    command += ["--rate-limit", "1000000"]  # Okta's own pace is not what is measured
    org = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    remote = None
    try:
        _when_ready()
        remote = subprocess.Popen([sys.executable, __file__, "--serve"], stdout=subprocess.PIPE, text=True)
        assert remote.stdout
        _measure(people, remote.stdout.readline().strip(), first=first)
    finally:
        for process in (org, remote):
            if process is not None:
                process.terminate()
                process.wait()


def serve() -> None:
    """The remote: everybody of the org, one in a hundred with another title."""
    mapping = Mapping()
    with sloppy_server() as server, OktaOrg.connect(OKTA) as okta:
        server.config["filter"]["maxResults"] = 1000
        for page in okta.app_user_pages():
            for app_user in page:
                import msgspec

                profile = apply(
                    Profile(),
                    {**mapping.values(mapping.project_wanted(app_user).mapped), EMAIL_PATH: app_user.user_name},
                )
                number = server.add(app_user.user_name, externalId=app_user.id, **msgspec.to_builtins(profile))
                if len(server.users) % 100 == 0:
                    server.users[number]["title"] = "drifted"
        print(server.url, flush=True)
        time.sleep(3600)


def _when_ready() -> None:
    for _ in range(600):
        try:
            httpx.get(f"{ORG}/simulator/tasks", timeout=5)
        except httpx.TransportError:
            time.sleep(0.2)
        else:
            return
    raise TimeoutError("the simulated org did not start")


def _measure(people: int, url: str, *, first: bool) -> None:
    with tempfile.TemporaryDirectory() as folder, OktaOrg.connect(OKTA) as okta:
        directory_settings = DirectorySettings(
            backend="scim",
            base_url=url,
            api_key=KEY,
            owners=("nobody@example.com",),
            max_per_second=25 if first else 100_000,
            page_size=1000,
        )
        settings = Settings(
            okta=OKTA,
            guard=RAISED,
            directory=directory_settings,
            database=DatabaseSettings(url=f"sqlite:///{folder}/a.db"),
        )
        store = Store.open(settings.database)
        directory = RemoteDirectory(store, settings)
        _pin(store, okta)
        if not first:
            _link(store, okta, url)
        reconciler = Reconciler(store, directory, okta, settings, lambda: datetime.now(UTC))
        print(f"memory before: {_peak_mb():.0f} MB")
        if not first:
            _timed("listing alone", lambda: sum(len(page) for page in directory.everyone()))
        report = _timed(f"reconcile of {people:,}, 1 % repaired", lambda: reconciler.run(apply=True))
        print(f"  {report.outcome.value}: {report.counts}")
        again = _timed("the next one", lambda: reconciler.run(apply=True))
        assert again.outcome.value == "in_step", again
        print(f"peak memory {_peak_mb():.0f} MB")
        directory.close()
        store.close()


def _pin(store: Store, okta: OktaOrg) -> None:
    app, org_id, now = okta.app(), okta.org_id(), datetime.now(UTC)

    def pin(conn: Any) -> None:
        account.pin(conn, org_id=org_id, app_id=app.id, app_label=app.label, actor="bench", now=now)

    store.write(pin)


def _link(store: Store, okta: OktaOrg, url: str) -> None:
    """As after the agent's first run; the ids are those that the remote gave in the order of Okta's pages."""
    first = json.loads(httpx.get(f"{url}/Users?count=1", headers={"Authorization": f"Bearer {KEY}"}).content)
    assert first["Resources"][0]["id"] == "u000001"
    number = 0
    for page in okta.app_user_pages():
        links: list[dict[str, Any]] = []
        for app_user in page:
            number += 1
            links.append({"directory_id": f"u{number:06d}", "okta_id": app_user.id, "origin": "okta"})
        store.write(lambda conn, links=links: conn.execute(departed.insert(), links) and None)


def _timed(what: str, work: Any) -> Any:
    begun, cpu = time.perf_counter(), time.process_time()
    result = work()
    wall, spent = time.perf_counter() - begun, time.process_time() - cpu
    print(f"{what}: {wall:.2f} s, {spent:.2f} CPU s")
    return result


def _peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    if "--serve" in sys.argv:
        serve()
    else:
        numbers = [int(arg) for arg in sys.argv[1:] if arg.isdigit()]
        main(numbers[0] if numbers else 100_000, first="--first" in sys.argv)
