"""Whatever both sides do between sweeps, each sweep finds exactly who differs: an oracle beside it keeps what Okta says."""

import random
from pathlib import Path

import pytest

from support.world import World, open_world

ROUNDS = 8
#: As Okta has it, and as OpsHelm keeps it.
TITLES = {"Lead": "Lead", "": None, None: None, 7: "7", "Ünü": "Ünü"}


def drifted(w: World, wanted: dict[str, str | None]) -> set[str]:
    accounts = w.accounts()
    return {
        login
        for login, title in wanted.items()
        if login not in accounts or not accounts[login].active or (accounts[login].profile.title or None) != title
    }


def disturb(w: World, chance: random.Random, wanted: dict[str, str | None]) -> None:
    for person in chance.sample(w.people(), 3):
        login, title = person["login"], chance.choice(list(TITLES))
        match chance.randrange(4):
            case 0:
                w.org.set_app_user(person["okta_id"], profile={"title": title})
                wanted[login] = TITLES[title]
            case 1:
                w.change(login, title=TITLES[title])
            case 2:
                w.change(login, active=False)
            case 3:
                # Nothing that is compared: the answer is another one all the same.
                w.org.set_app_user(person["okta_id"], lastSync="2026-01-02T00:00:00.000Z")


@pytest.mark.parametrize("database", ["sqlite", "postgresql"])
def test_no_sweep_misses_drift_and_none_sees_any_that_is_not_there(
    tmp_path: Path, database: str, request: pytest.FixtureRequest
) -> None:
    url = request.getfixturevalue("postgres_url") if database == "postgresql" else ""
    chance = random.Random(17)
    with open_world(tmp_path, users=12, url=url, reconcile={"page_size": 5}) as w:
        w.first_run()
        wanted = {login: account.profile.title for login, account in w.accounts().items()}
        for _ in range(ROUNDS):
            disturb(w, chance, wanted)
            differ = drifted(w, wanted)
            report = w.reconcile()
            assert {action.login for action in report.plan.plan.actions} == differ
            assert drifted(w, wanted) == set()
