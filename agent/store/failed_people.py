"""Whose actions failed lately, and how often in a row. A query over the stored actions; the waiting time is the reconciler's."""

from datetime import datetime

from msgspec import Struct
from sqlalchemy import Connection, select

from agent.model.codes import ActionState
from agent.store.tables import actions


class Failing(Struct, frozen=True, kw_only=True):
    #: As agent.model.plan.Action.identity names the person.
    person: str
    times: int
    last: datetime
    error: str


def since(conn: Connection, start: datetime) -> list[Failing]:
    """People whose last action, of those that were tried since ``start``, failed."""
    tried = select(
        actions.c.okta_id, actions.c.directory_id, actions.c.login, actions.c.state, actions.c.done_at, actions.c.error
    ).where(actions.c.state.in_((ActionState.FAILED.value, ActionState.DONE.value)), actions.c.done_at >= start)
    failed = tried.where(actions.c.state == ActionState.FAILED.value).order_by(actions.c.done_at)
    found: dict[str, Failing] = {}
    for row in conn.execute(failed):
        person = row.okta_id or row.directory_id or row.login
        before = found.get(person)
        times = 1 + (before.times if before else 0)
        found[person] = Failing(person=person, times=times, last=row.done_at, error=row.error)
    if not found:
        return []
    people = list(found)
    done = tried.where(
        actions.c.state == ActionState.DONE.value,
        actions.c.okta_id.in_(people) | actions.c.directory_id.in_(people) | actions.c.login.in_(people),
    )
    for row in conn.execute(done):
        person = row.okta_id or row.directory_id or row.login
        if person in found and row.done_at > found[person].last:
            del found[person]
    return list(found.values())
