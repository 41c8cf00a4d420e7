"""The demo's story, in five acts: pushes arrive, both sides drift apart, the agent looks, repairs, and finds nothing more."""

import time
from collections import Counter
from datetime import UTC, datetime
from typing import Any

from msgspec.structs import replace

from agent.cli import render
from agent.cli.demo_stage import Narrator, Stage, expect, new_key
from agent.directory.port import Draft, WriteContext
from agent.model.codes import Source
from agent.model.users import DirectoryUser, Role
from agent.runs import wording
from agent.runs.frame import RunReport
from agent.runs.stored_plans import SHORT_CHECKSUM, PlanDecision
from agent.store.journal import Signature
from agent.store.runs import Asker

_CREATED, _LEFT, _CHANGED = 4, 5, 6
#: What a long plan shows of each kind.
_SHOWN = 14


def play(stage: Stage, say: Narrator) -> dict[str, Any]:
    """All acts; what happened, in numbers."""
    started = time.monotonic()
    pushed = _pushes(stage, say)
    _drift_in_okta(stage, say)
    _drift_in_opshelm(stage, say)
    plan = _look(stage, say)
    _repair(stage, say)
    _look_again(stage, say)
    return {"pushed": pushed, "drift": plan, "seconds": round(time.monotonic() - started, 1)}


# Act 1


def _pushes(stage: Stage, say: Narrator) -> int:
    say.title("1. Okta pushes its people to the receiver")
    say("Before anything, OpsHelm has two accounts of its own: an owner and a shared one for emergencies.")
    acts = stage.agent.directory.operator(actor="operator demo", reason="before Okta", now=datetime.now(UTC))
    acts.add("owner@example.org", owner=True)
    spare = acts.add("emergency@example.org")
    acts.protect(spare.id, protected=True)
    say.command("keys create okta")
    key = new_key(stage.agent)
    say(f"{key[:10]}…   (goes into Okta's provisioning settings)")
    began = time.monotonic()
    stage.org.provisioning(scim_url=stage.scim, scim_key=key, push_waiting=True)
    stage.org.wait_idle()
    took = time.monotonic() - began
    answers = Counter(f"{push['method']} {push['status']}" for push in stage.org.pushes() if push.get("status"))
    people = [user for user in _everyone(stage) if user.managed and user.active]
    say(
        f"{len(people)} people provisioned in {took:.1f} s: {', '.join(f'{n} x {what}' for what, n in answers.most_common())}"
    )
    expect(len(people) == len(stage.org.state()), "not everybody in Okta has an account")
    expect(not stage.org.tasks(), "a push failed")
    return len(people)


# Act 2


def _drift_in_okta(stage: Stage, say: Narrator) -> None:
    say.title("2. Then the two sides drift apart")
    say("Okta's pushes get lost for a while; Okta itself thinks that all went well. Meanwhile, in Okta:")
    org = stage.org
    people = org.state()
    org.provisioning(mode="off")
    for n in range(_CREATED):
        login = f"new.hire{n}@example.com"
        profile = {"login": login, "email": login, "firstName": "New", "lastName": f"Hire {n}", "title": "Trainee"}
        made = org.api("POST", "/users?activate=true", {"profile": profile})
        org.api("POST", f"/apps/{org.app_id}/users", {"id": made["id"]})
    say(f"- {_CREATED} new people are assigned to OpsHelm")
    for person in people[:_LEFT]:
        org.api("DELETE", f"/apps/{org.app_id}/users/{person['okta_id']}")
    say(f"- {_LEFT} people leave: unassigned, and OpsHelm never hears of it")
    for person in people[10 : 10 + _CHANGED]:
        org.api("POST", f"/users/{person['okta_id']}", {"profile": {"title": "Team lead"}})
    say(f"- {_CHANGED} people get a new title")
    person = people[20]
    org.api(
        "POST",
        f"/users/{person['okta_id']}",
        {"profile": {"login": "new.name@example.com", "email": "new.name@example.com"}},
    )
    say(f"- {person['login']} marries and is new.name@example.com now")
    org.api("POST", f"/users/{people[21]['okta_id']}/lifecycle/suspend")
    say(f"- {people[21]['login']} is suspended, which Okta pushes to nobody")
    org.provisioning(mode="on")


def _drift_in_opshelm(stage: Stage, say: Narrator) -> None:
    say("And on the OpsHelm side, where nobody in Okta looks:")
    managed = [user for user in _everyone(stage) if user.managed]
    _edit(stage, managed[40], active=False)
    say(f"- somebody deactivates {managed[40].user_name} by hand")
    for user in managed[50:53]:
        _edit(stage, user, title="Chief Everything Officer")
    say("- somebody overwrites the titles of 3 people")
    say("- the two local accounts are still there; Okta knows nothing of them")


def _edit(stage: Stage, user: DirectoryUser, *, active: bool = True, title: str | None = None) -> None:
    """As somebody does it in OpsHelm's own dashboard, which the agent doesn't hear of."""

    def change(before: DirectoryUser) -> Draft:
        profile = before.profile if title is None else replace(before.profile, title=title)
        return Draft(user_name=before.user_name, profile=profile, active=active)

    context = WriteContext(actor="operator demo", source=Source.CLI, reason="by hand")
    stage.agent.directory.modify(user.id, change, context, datetime.now(UTC)).result()


# Acts 3 to 5


def _look(stage: Stage, say: Narrator) -> dict[str, int]:
    say.title("3. The agent looks, and changes nothing")
    say.command("reconcile")
    report = _run(stage, apply=False)
    expect(report.plan is not None and report.drift, f"the dry run found no drift; {report.detail}")
    assert report.plan is not None
    say(render.plan_text(report.plan, stage.agent.settings.guard, render.PlanView(first=_SHOWN)))
    return dict(Counter(action.kind.value for action in report.plan.plan.actions))


def _repair(stage: Stage, say: Narrator) -> None:
    say.title("4. It repairs")
    say("The very first apply pins this Okta org and app, and a person has to say yes to it:")
    say.command("reconcile --apply")
    report = _run(stage, apply=True)
    stored = report.plan
    expect(stored is not None and report.exit_code == 4, "the first run was not held")
    assert stored is not None
    say(f"Run {report.run_id}: {report.outcome}. {wording.clean(stored.plan.held_detail)}")
    count = wording.bounded(stored.plan)
    say.command(f"plans approve {stored.id} --checksum {stored.checksum[:SHORT_CHECKSUM]} --count {count}")
    by = Signature(actor="operator demo", source="cli", at=datetime.now(UTC))
    done = stage.reconciler.apply_plan(stored.id, stored.checksum, PlanDecision(approve=True, count=count), by=by)
    say(f"Run {done.run_id}: {done.outcome} ({wording.counted(done.counts)})")
    expect(done.exit_code == 0, f"the apply ended with {done.outcome}: {done.detail}")


def _look_again(stage: Stage, say: Narrator) -> None:
    say.title("5. A second look finds nothing")
    say.command("reconcile")
    report = _run(stage, apply=False)
    say(render.NO_CHANGES)
    if report.findings:
        say(render.findings_text(report.findings, shown=5))
    expect(not report.drift, "the second run found drift again")
    local = [user.user_name for user in _everyone(stage) if not user.managed]
    owners = [user.user_name for user in _everyone(stage) if user.role is Role.OWNER and user.active]
    expect(len(local) == 2, "a local account was touched")
    say(f"Local accounts, untouched: {', '.join(local)}. Owner: {', '.join(owners)}.")


def _run(stage: Stage, *, apply: bool) -> RunReport:
    return stage.reconciler.run(apply=apply, by=Asker(trigger="demo", actor="operator demo"), wait=10)


def _everyone(stage: Stage) -> list[DirectoryUser]:
    return [user for page in stage.agent.directory.everyone() for user in page]
