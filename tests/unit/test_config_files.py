"""The files in config/ and the image fit the program: metric names, commands, settings, ports, exit codes."""

import json
import re
import shlex
import tomllib
from datetime import UTC, datetime, timedelta
from pathlib import Path

import click
import pytest
from prometheus_client import CollectorRegistry, generate_latest

from agent.cli.root import cli
from agent.dashboard.metrics import DaemonCollector, OktaCollector, StatusCollector
from agent.dashboard.status import StatusPage
from agent.model.codes import ActionKind, HeldCode
from agent.okta_org.limits import RateBudget
from agent.receiver import metrics as receiver_metrics
from agent.settings import ServerSettings
from agent.settings.describe import all_settings
from agent.store.account import Account
from agent.store.alarms import Alarm
from agent.store.runs import Run
from agent.store.windows import Counts
from support.dashboard import Ticking

ROOT = Path(__file__).parents[2]
CONFIG = ROOT / "config"
NOW = datetime(2026, 3, 1, tzinfo=UTC)


class StandsStill:
    """Fulfils agent.dashboard.metrics.Daemon."""

    def ages(self) -> dict[str, float]:
        return {"sweep": 321.0}

    def overdue(self) -> dict[str, float]:
        return {"sweep": 321.0}

    def in_force(self) -> str:
        return "0123456789ab"

    def since(self) -> datetime:
        return NOW


def exported() -> set[str]:
    """Every name that a scrape can hold, of a state in which everything is there."""
    account = Account(
        instance="i",
        managed_active=1,
        active_owners=1,
        visible=1,
        org_id="o",
        app_id="a",
        app_label="l",
        pinned_at=NOW,
        pinned_by="x",
        mapping_hash=None,
        mapping=None,
        mapping_version=0,
        mapping_seq=None,
        distrust=None,
        paused_at=None,
        paused_by=None,
        paused_reason=None,
        last_good_sweep=NOW,
        last_good_people=1,
        journal_block=1,
        journal_hash="h",
    )
    run = Run(
        id=1,
        kind="sweep",
        trigger="cli",
        actor="x",
        dry=False,
        scope=(),
        started=NOW,
        ended=NOW,
        outcome="applied",
        exit_code=0,
        counts={},
        detail="",
    )
    alarm = Alarm(id=1, code="held", subject="s", detail="", raised=NOW, last_seen=NOW, cleared=None)
    status = StatusPage(
        at=NOW,
        account=account,
        counts=Counts(population=1, last_hour=0, last_day=0),
        run_limit=1,
        day_limit=1,
        hour_limit=1,
        allowances=[],
        refused=[],
        held_plans=[],
        runs=[run],
        alarms=[alarm],
        drift={ActionKind.CREATE: 1},
        held={HeldCode.LAST_OWNER: 1},
        holds=[],
        leavers_active=0,
        waiting_people=0,
        scim_keys=1,
        last_key_ends=NOW,
        lease_holder=None,
        slowest_action=timedelta(seconds=1),
    )
    registry = CollectorRegistry()
    registry.register(StatusCollector(lambda: status))
    registry.register(DaemonCollector(StandsStill()))
    registry.register(OktaCollector(lambda: {"apps": RateBudget(limit=1, remaining=1)}))
    registry.register(DaemonCollector(Ticking(events=1.0)))
    registry.register(receiver_metrics.Received())
    receiver_metrics.ANSWERS.count("GET", 200, 0.002)
    text = generate_latest(registry).decode()
    return set(re.findall(r"^(opshelm_agent_\w+)", text, flags=re.MULTILINE))


@pytest.mark.parametrize("file", ["alerts.yaml", "grafana.json"])
def test_every_metric_that_is_asked_for_exists(file: str) -> None:
    asked = set(re.findall(r"opshelm_agent_\w+", (CONFIG / file).read_text(encoding="utf-8")))
    assert len(asked) > 10
    assert asked - exported() == set()


def test_the_board_has_panels_that_do_not_overlap() -> None:
    board = json.loads((CONFIG / "grafana.json").read_text(encoding="utf-8"))
    cells: set[tuple[int, int]] = set()
    for panel in board["panels"]:
        at = panel["gridPos"]
        mine = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert not mine & cells, panel["title"]
        cells |= mine
    assert len({panel["id"] for panel in board["panels"]}) == len(board["panels"])


@pytest.mark.parametrize(
    "file", ["config/alerts.yaml", "config/compose.yaml", "config/opshelm-agent.service", "Dockerfile", "docs/codes.md"]
)
def test_every_command_that_is_named_exists(file: str) -> None:
    text = (ROOT / file).read_text(encoding="utf-8")
    context = click.Context(cli)
    for name, inner in re.findall(r"opshelm-agent (?:--config \S+ )?([a-z]+)(?: ([a-z-]+))?", text):
        found = cli.get_command(context, name)
        assert found is not None or "/" in name or name == "image", name
        if isinstance(found, click.Group) and inner:
            assert inner in found.commands, f"{name} {inner}"


@pytest.mark.parametrize("file", ["config/compose.yaml", "config/opshelm-agent.service", "Dockerfile"])
def test_every_variable_that_is_set_is_a_setting(file: str) -> None:
    known = {row.env for row in all_settings()} | {"OPSHELM_CONFIG", "OPSHELM_SECRETS_DIR"}
    named = set(re.findall(r"OPSHELM_[A-Z_]+", (ROOT / file).read_text(encoding="utf-8")))
    assert named
    assert named - known == set()


def test_the_socket_unit_holds_the_port_of_the_receiver_alone() -> None:
    unit = (CONFIG / "opshelm-agent.socket").read_text(encoding="utf-8")
    (address,) = re.findall(r"^ListenStream=(.+)$", unit, flags=re.MULTILINE)
    assert address.rpartition(":")[2] == str(ServerSettings().port)


def test_what_an_operator_types_beside_the_unit_is_about_the_database_of_the_unit() -> None:
    unit = (CONFIG / "opshelm-agent.service").read_text(encoding="utf-8")
    typed = re.search(r"^# +sudo env (.+) (/\S+) --config (\S+) check$", unit, flags=re.MULTILINE)
    assert typed
    variables = dict(one.split("=", 1) for one in typed[1].split())
    assert f"Environment=OPSHELM_DATABASE__URL={variables['OPSHELM_DATABASE__URL']}" in unit
    assert f"LoadCredential=okta__api_token:{variables['OPSHELM_SECRETS_DIR']}/okta__api_token" in unit
    assert f"ExecStart={typed[2]} --config {typed[3]} serve" in unit


def test_the_image_runs_as_nobody_in_particular_and_checks_itself() -> None:
    lines = (ROOT / "Dockerfile").read_text(encoding="utf-8").splitlines()
    last = lines[max(n for n, line in enumerate(lines) if line.startswith("FROM")) :]
    assert sum(line.startswith("FROM") for line in lines) == 2
    assert all(re.match(r"FROM python:3\.11-slim( AS build)?$", line) for line in lines if line.startswith("FROM"))
    assert any(re.fullmatch(r"USER \d+:\d+", line) for line in last)
    assert 'CMD ["opshelm-agent", "check", "--health"]' in "\n".join(last)
    assert 'ENTRYPOINT ["opshelm-agent"]' in last
    assert 'CMD ["serve"]' in last


def test_the_image_with_extras_that_the_docs_build_fits_the_image() -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]
    docs = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
    shown = docs.partition("```dockerfile\n")[2].partition("```")[0].splitlines()
    image = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    assert shown[0] == "FROM opshelm-okta-agent"
    assert "docker build -t opshelm-okta-agent ." in image
    assert "COPY --from=build /opt/agent /opt/agent" in image
    assert shown[2].startswith("RUN /opt/agent/bin/pip install")
    named = re.search(r"opshelm-okta-agent\[([\w,]+)\]", shown[2])
    assert named
    assert set(named[1].split(",")) == extras.keys() - {"test"}
    # Back to nobody in particular.
    assert shown[-1] in image.splitlines()


def test_all_that_the_image_fetches_is_pinned_by_hash() -> None:
    text = re.sub(r"\\\n\s*", "", (ROOT / "Dockerfile").read_text(encoding="utf-8"))
    steps = [
        step for line in text.splitlines() for step in line.split("&&") if re.search(r"/pip (install|wheel)", step)
    ]
    fetching = [step for step in steps if "--no-index" not in step]
    assert len(steps) == 4
    assert len(fetching) == 2
    for step in fetching:
        assert "--require-hashes" in step
        assert "--only-binary :all:" in step
        pinned = (ROOT / step.split()[-1]).read_text(encoding="utf-8")
        packages = [line for line in re.sub(r"\\\n\s*", "", pinned).splitlines() if not line.startswith("#")]
        assert all(re.fullmatch(r"[\w.\-]+==\S+ .*--hash=sha256:[0-9a-f]{64}", line) for line in packages)
    # Without isolation nothing else is fetched while the package is built.
    assert all("--no-build-isolation" in step for step in steps if "/pip wheel" in step)


def test_everything_that_the_image_copies_is_let_through() -> None:
    ignored = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    let_through = {line.removeprefix("!") for line in ignored if line.startswith("!")}
    copied: set[str] = set()
    for line in (ROOT / "Dockerfile").read_text(encoding="utf-8").splitlines():
        if line.startswith("COPY") and "--from" not in line:
            copied |= {name.removeprefix("./") for name in shlex.split(line)[1:-1]}
    assert copied == let_through
    assert all((ROOT / name).exists() for name in copied)


def test_the_unit_does_not_restart_on_wrong_settings() -> None:
    unit = (CONFIG / "opshelm-agent.service").read_text(encoding="utf-8")
    assert "RestartPreventExitStatus=2" in unit
    assert "ExecReload=/bin/kill -HUP" in unit
