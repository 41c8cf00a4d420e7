"""Checks on what the agent keeps: schema, brakes, keys, owners, the lease."""

from collections.abc import Iterator
from datetime import datetime

from agent.model.check import Check, fail, ok, warn
from agent.model.times import when
from agent.settings import Settings
from agent.store import account, connect, keys, lease
from agent.store.engine import Store

#: Intervals without a good sweep.
_MISSED = 3


def checks(store: Store, settings: Settings, now: datetime) -> Iterator[Check]:
    yield ok("database", f"{store.dialect} at {store.place}, schema up to date")
    yield from _disk(store)
    with store.read() as conn:
        row = account.get(conn)
        found, holder = keys.list_all(conn), lease.current_holder(conn, lease.RECONCILE)
    yield from _brakes(row)
    if settings.okta.configured:
        yield _sweep(row, settings, now)
    scim = [key for key in found if key.scope is keys.KeyScope.SCIM and key.valid(now)]
    yield _keys(scim, now)
    if settings.directory.backend == "sql":
        yield _owners(row)
    yield ok("lease", f"held by {holder}" if holder else "free")


def _disk(store: Store) -> Iterator[Check]:
    """DiskFull where it is: the one line of this group that writes."""
    store.write(account.touch)
    free = connect.room(store.settings)
    if free is not None:
        line, fix = f"{free / 1e6:,.0f} MB free under the database", "df -h; once it is full every push is refused"
        if free < connect.ENOUGH_ROOM:
            yield fail(
                "disk", f"The disk under the database {store.place} is full.", "df -h; make room, it goes on by itself"
            )
        else:
            yield ok("disk", line) if free >= connect.LOW_ROOM else warn("disk", line, fix)


def _keys(live: list[keys.ApiKey], now: datetime) -> Check:
    if not live:
        return warn("keys", "Okta has no key to push with", "opshelm-agent keys create okta")
    end = keys.last_end(live)
    if end is not None and end - now <= keys.ENDS_SOON:
        detail = f"the last key that Okta can push with ends at {when(end)}"
        return warn("keys", detail, f"opshelm-agent keys roll {live[-1].name}, and put the new key into Okta")
    return ok("keys", f"{len(live)} live for Okta")


def _sweep(row: account.Account, settings: Settings, now: datetime) -> Check:
    every = settings.schedule.reconcile
    if row.last_good_sweep is None:
        return warn("last sweep", "none yet", "opshelm-agent reconcile, and read what it would do")
    age = now - row.last_good_sweep
    detail = f"{when(row.last_good_sweep)}, {row.last_good_people} people"
    if every is not None and age > _MISSED * every:
        return warn("last sweep", f"{detail}: drift is not repaired since", "opshelm-agent runs list")
    return ok("last sweep", detail)


def _brakes(row: account.Account) -> Iterator[Check]:
    if row.distrust:
        yield fail("restore", row.distrust, "look at a dry run, then: opshelm-agent db accept-restore --reason …")
    if row.paused:
        yield warn("pause", f"applies are paused by {row.paused_by}: {row.paused_reason}", "opshelm-agent resume")


def _owners(row: account.Account) -> Check:
    if row.active_owners >= 2:
        return ok("owners", f"{row.active_owners} active")
    fix = "opshelm-agent users add LOGIN --owner, and users protect LOGIN for an emergency account"
    if row.active_owners == 1:
        return warn("owners", "only one active owner: their deactivation would be refused", fix)
    return warn("owners", "no active owner is known", fix)
