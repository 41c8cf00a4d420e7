"""A storm in the System Log and to the hooks: many events about random people, doubled and out of order if asked."""

import itertools
from typing import Any

from agent.simulator.errors import require_known
from agent.simulator.org import Org

_TYPES = (
    "application.user_membership.add",
    "application.user_membership.update",
    "application.user_membership.remove",
    "application.provision.user.push",
    "application.provision.user.push_profile",
    "user.lifecycle.suspend",
    "user.lifecycle.unsuspend",
    "user.account.update_profile",
)


def make(org: Org, body: dict[str, Any]) -> dict[str, Any]:
    """``count`` events; ``duplicate``: the share that comes twice (true: all); ``shuffle``: not in order of time.

    They name people of the app and change nobody.
    """
    require_known(body, ("count", "duplicate", "shuffle"), "events")
    people = list(itertools.islice(org.assignments.app_users.values(), 100_000))
    if not people:
        return {"events": 0, "people": 0}
    chosen = [org.draw.choice(people) for _ in range(int(body.get("count", 1)))]
    events = [org.log.make(org.draw.choice(_TYPES), app_user=one) for one in chosen]
    share = float(body.get("duplicate") or 0)
    events += [event for event in events if org.draw.random() < share]
    if body.get("shuffle"):
        org.draw.shuffle(events)
    org.log.store(events)
    return {"events": len(events), "people": len({one.user.id for one in chosen})}
