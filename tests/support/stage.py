"""An agent that has been in use for a while: a simulated org, the daemon with its pages, and something to see on each of them."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

from agent.cli.dashboard import new_link
from agent.cli.demo_stage import Stage, open_stage
from agent.directory.port import Acts, Draft, WriteContext
from agent.model.codes import Source
from agent.model.guard import typed
from agent.model.users import DirectoryUser, MultiValue, Name, Profile, identity_key
from agent.store import brakes, events, keys
from agent.store.events import PushFailure
from agent.store.journal import Signature
from agent.store.runs import Asker

PEOPLE = 60
HOSTILE = "=cmd()|'/C calc'!A0<script>alert(1)</script>"
EXACT, PARTIAL, NONE = "cleo.exact@example.com", "pat.partial@example.com", "nora.none@example.com"


def silent(text: str = "") -> None:
    """The stage tells its story to nobody."""


@contextmanager
def new_stage() -> Iterator[Stage]:
    """A new installation: nothing has run, nobody is there."""
    with open_stage(people=PEOPLE, seed=7, port=0, admin_port=0, say=silent) as stage:  # type: ignore[arg-type]
        yield stage


@contextmanager
def used_stage(*, hostile: bool = True) -> Iterator[Stage]:
    """The first run is done, and since then: leavers are held, somebody is blocked, pushes failed, accounts wait for Okta."""
    with new_stage() as stage:
        _first_run(stage)
        _local_accounts(stage)
        if hostile:
            _hostile_account(stage)
        _changes(stage)
        _decisions(stage)
        _failures(stage, HOSTILE if hostile else "Matching user not found")
        yield stage


def sign_in_link(stage: Stage, name: str = "ann.admin@example.com") -> str:
    """An address that signs in as admin, once."""
    by = Signature(actor=name, source="cli", at=datetime.now(UTC))
    return new_link(stage.agent.store, stage.agent.settings, by, stage.admin)


def account(stage: Stage, login: str) -> DirectoryUser:
    found = stage.agent.directory.find(user_name_key=identity_key(login))
    assert found is not None, login
    return found


def _run(stage: Stage, *, apply: bool, first_run: int | None = None, trigger: str = "schedule") -> None:
    by = Asker(trigger=trigger, actor="daemon")
    stage.reconciler.run(apply=apply, grant=typed(first_run=first_run), by=by, wait=10)


def _first_run(stage: Stage) -> None:
    _key(stage, "okta", keys.KeyScope.SCIM)
    _key(stage, "prometheus", keys.KeyScope.METRICS)
    _run(stage, apply=True, first_run=1_000, trigger="cli")


def _key(stage: Stage, name: str, scope: keys.KeyScope) -> None:
    stage.agent.store.write(lambda conn: keys.create(conn, _by("operator root@host"), name=name, scope=scope))


def _by(actor: str, reason: str = "") -> Signature:
    return Signature(actor=actor, source="cli", at=datetime.now(UTC), reason=reason)


def _acts(stage: Stage, reason: str) -> Acts:
    return stage.agent.directory.operator(actor="operator root@host", reason=reason, now=datetime.now(UTC))


def _local_accounts(stage: Stage) -> None:
    acts, org = _acts(stage, "there before Okta"), stage.org
    for login, names in ((EXACT, ("Cleo", "Exact")), (PARTIAL, ("Pat", "Partial")), (NONE, ("Nora", "None"))):
        acts.add(login, name=Name(given_name=names[0], family_name=names[1]))
    acts.add("zoe.owner@example.com", owner=True, name=Name(given_name="Zoe", family_name="Owner"))
    safe = acts.add("breakglass@example.com", owner=True, name=Name(given_name="Break", family_name="Glass"))
    acts.protect(safe.id, protected=True)
    for login, first, last in ((EXACT, "Cleo", "Exact"), ("p.partial@example.org", "Pat", "Partial")):
        names = {"login": login, "email": login, "firstName": first, "lastName": last}
        org.api("POST", "/users?activate=true", {"profile": names})


def _hostile_account(stage: Stage) -> None:
    """Somebody whose every value would do something in a page or in a spreadsheet that let it."""
    acts = _acts(stage, HOSTILE)
    acts.add("hostile@example.com", name=Name(given_name=HOSTILE, family_name=HOSTILE))
    context = WriteContext(actor="operator root@host", source=Source.CLI, reason=HOSTILE)
    profile = Profile(
        name=Name(given_name=HOSTILE, family_name=HOSTILE),
        display_name=HOSTILE,
        title=HOSTILE,
        emails=(MultiValue(value="hostile@example.com", primary=True),),
    )
    hostile = account(stage, "hostile@example.com")
    draft = Draft(user_name=hostile.user_name, profile=profile)
    stage.agent.directory.modify(hostile.id, lambda _: draft, context, datetime.now(UTC)).result()


def _changes(stage: Stage) -> None:
    """What Okta's pushes never brought: new titles, which the next run repairs, and leavers, who are too many for it."""
    org = stage.org
    people = org.state()
    for person in people[20:26]:
        org.api("POST", f"/users/{person['okta_id']}", {"profile": {"title": "Team lead"}})
    _run(stage, apply=True)
    for person in people[:9]:
        org.api("DELETE", f"/apps/{org.app_id}/users/{person['okta_id']}")
    for person in people[30:33]:
        org.api("POST", f"/users/{person['okta_id']}", {"profile": {"title": "Director"}})
    _run(stage, apply=True)


def _decisions(stage: Stage) -> None:
    people = stage.org.state()
    _acts(stage, "laptop stolen").deactivate(account(stage, people[40]["login"]).id)
    _acts(stage, "leaves for a while").deactivate(
        account(stage, people[41]["login"]).id, until=datetime.now(UTC) + timedelta(days=7)
    )
    until = datetime.now(UTC) + timedelta(hours=2)
    stage.agent.store.write(
        lambda conn: brakes.allow(conn, _by("operator root@host", "office in Oslo closes"), count=5, until=until)
    )


def _failures(stage: Stage, second: str) -> None:
    now = datetime.now(UTC)
    for number, person in enumerate(stage.org.state()[50:57]):
        words = f"Automatic profile push of user {person['login']} to app OpsHelm failed: "
        words += "Error while updating user: 429 Too Many Requests" if number < 5 else second
        one = PushFailure(
            okta_id=person["okta_id"], event_type="application.provision.user.push_profile", reason=words, at=now
        )
        stage.agent.store.write(lambda conn, one=one: events.failed(conn, [one]))
