"""Plans that nobody applies don't pile up: of a kind and scope the newest stays, and the one before it says what became of it."""

from collections.abc import Callable

from sqlalchemy import func, select

from agent.model.codes import PlanStatus
from agent.store.tables import actions
from agent.store.tables import plans as table
from support.world import World


def kept(w: World) -> list[tuple[int, str]]:
    with w.store.read() as conn:
        return [tuple(row) for row in conn.execute(select(table.c.id, table.c.status).order_by(table.c.id))]


def test_twenty_dry_runs_leave_two_plans(make_world: Callable[..., World]) -> None:
    w = make_world()
    w.first_run()
    w.org.api("POST", f"/users/{w.take()['okta_id']}", {"profile": {"title": "Captain"}})
    before = kept(w)
    ids = [w.reconcile(apply=False).plan.id for _ in range(20)]
    assert [row for row in kept(w) if row not in before] == [
        (ids[-2], PlanStatus.STALE.value),
        (ids[-1], PlanStatus.READY.value),
    ]
    with w.store.read() as conn:
        orphans = select(func.count()).select_from(actions).where(actions.c.plan_id.not_in(select(table.c.id)))
        assert conn.execute(orphans).scalar_one() == 0


def test_a_plan_of_one_person_is_no_newer_one_of_everybody(make_world: Callable[..., World]) -> None:
    w = make_world()
    w.first_run()
    person = w.take()
    w.org.api("POST", f"/users/{person['okta_id']}", {"profile": {"title": "Captain"}})
    everybody = w.reconcile(apply=False).plan.id
    w.reconcile(person["login"], apply=False)
    assert (everybody, PlanStatus.READY.value) in kept(w)


def test_what_is_carried_out_goes_only_when_nobody_holds_the_lease(make_world: Callable[..., World]) -> None:
    w = make_world()
    w.first_run()
    w.org.api("POST", f"/users/{w.take()['okta_id']}", {"profile": {"title": "Captain"}})
    first = w.reconcile(apply=False).plan.id
    w.sql("UPDATE lease SET holder = 'another'")
    for _ in range(3):
        w.reconcile(apply=False)
    assert dict(kept(w))[first] == PlanStatus.READY.value
    w.sql("UPDATE lease SET holder = NULL")
    for _ in range(2):
        w.reconcile(apply=False)
    assert first not in dict(kept(w))
