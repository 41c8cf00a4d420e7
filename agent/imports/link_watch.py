"""Is an imported account linked? Confirms links, and raises an alarm where Okta takes too long. Changes no account.

==============================================================  ===================================================
what is seen                                                    then
==============================================================  ===================================================
the account is managed: Okta's push, or a sweep, has bound it   linked
the app user's externalId is the account's id                   linked
it is another account's id                                      alarm: Okta linked somebody else
the app user is gone, or the account is                         the import ended without a link
the Okta user is STAGED or SUSPENDED                            linking, awaits activation: no alarm, however long
none of these for ``imports.confirm_within`` since the          alarm
assignment or, if later, the activation
==============================================================  ===================================================
"""

from datetime import datetime

from agent.directory.port import Directory
from agent.imports.survey import Assigned
from agent.model.desired import user_status
from agent.model.okta import Person
from agent.okta_org.org import OktaOrg
from agent.settings import ImportSettings
from agent.store import alarms, imports
from agent.store.engine import Connection, Store
from agent.store.imports import Import

ALARM = "import_linking"
#: Direct looks at Okta in one round: the limit of the apps bucket is for others too.
_AT_ONCE = 20
#: Accounts read in one round: a remote OpsHelm has its limits too.
_READ_AT_ONCE = 100


def confirm(
    store: Store, directory: Directory, now: datetime, seen: tuple[Assigned, ...] = (), *, at_most: int | None = None
) -> int:
    """Mark what is linked by now: the directory says so, or Okta did in ``seen``. Asks Okta nothing; how many are new.

    ``at_most``: only so many, others at another minute.
    """
    waiting = store.ask(imports.open_rows)
    if at_most is not None and len(waiting) > at_most:
        start = int(now.timestamp() // 60) * at_most % len(waiting)
        waiting = (waiting[start:] + waiting[:start])[:at_most]
    said = {one.account.id for one in seen if one.confirmed}
    found = [row.directory_id for row in waiting if row.directory_id in said or _managed(directory, row)]
    if found:
        store.write(lambda conn: _linked(conn, found, now))
    return len(found)


def watch(store: Store, directory: Directory, okta: OktaOrg, settings: ImportSettings, now: datetime) -> int:
    """Confirm, then ask Okta about those that are overdue; how many alarms are open for this."""
    confirm(store, directory, now, at_most=_READ_AT_ONCE)
    with store.read() as conn:
        late = imports.overdue(conn, now - settings.confirm_within, _AT_ONCE)
    for row in late:
        if directory.get(row.directory_id) is None:
            why = "The account is gone from OpsHelm."
            store.write(lambda conn, row=row, why=why: ended(conn, row.directory_id, why, now))  # type: ignore[misc]
            continue
        person = okta.person(row.okta_id or "")
        store.write(lambda conn, row=row, person=person: _judge(conn, row, person, settings, now))  # type: ignore[misc]
    return sum(alarm.code == ALARM for alarm in store.ask(alarms.open_alarms))


def _managed(directory: Directory, row: Import) -> bool:
    account = directory.get(row.directory_id)
    return account is not None and account.managed and account.okta_id in (None, row.okta_id)


def _judge(conn: Connection, row: Import, person: Person, settings: ImportSettings, now: datetime) -> None:
    app_user, status = person.app_user, user_status(person.okta_user)
    if app_user is None:
        ended(conn, row.directory_id, f"The Okta user {row.okta_id} is not assigned to the app any more.", now)
    elif app_user.external_id == row.directory_id:
        _linked(conn, [row.directory_id], now)
    elif app_user.external_id:
        detail = (
            f"{row.login} was assigned to be linked, but Okta has linked the account {app_user.external_id} to the Okta user "
            f"{row.okta_id}. Compare: opshelm-agent import list, and the app's assignment in Okta."
        )
        _alarm(conn, row, detail, since=None, now=now)
    elif status in ("STAGED", "SUSPENDED"):
        alarms.clear(conn, ALARM, f"account {row.directory_id}", now)
        imports.asked(conn, row.directory_id, waits=True, since=None, now=now)
    else:
        _late(conn, row, person, settings, now)


def _late(conn: Connection, row: Import, person: Person, settings: ImportSettings, now: datetime) -> None:
    """Live and not linked: late, unless its activation is younger than that."""
    changed = person.okta_user.status_changed if person.okta_user else None
    since = max(filter(None, (row.linking_since, changed)), default=now)
    if now - since < settings.confirm_within:
        imports.asked(conn, row.directory_id, waits=False, since=since, now=now)
        return
    minutes = (now - since).total_seconds() / 60
    state = person.app_user.sync_state if person.app_user else None
    detail = (
        f"{row.login} was assigned in Okta {minutes:,.0f} min ago, and Okta has not linked it (its push: {state or 'unknown'}). "
        "Look at the app's tasks in Okta, then retry them."
    )
    _alarm(conn, row, detail, since=since, now=now)


def _alarm(conn: Connection, row: Import, detail: str, *, since: datetime | None, now: datetime) -> None:
    alarms.raise_alarm(conn, ALARM, f"account {row.directory_id}", detail, now)
    imports.asked(conn, row.directory_id, waits=False, since=since, now=now)


def _linked(conn: Connection, directory_ids: list[str], now: datetime) -> None:
    imports.linked(conn, directory_ids, now)
    for directory_id in directory_ids:
        alarms.clear(conn, ALARM, f"account {directory_id}", now)


def ended(conn: Connection, directory_id: str, why: str, now: datetime) -> None:
    """Nobody waits for its link any more."""
    imports.ended(conn, directory_id, why, now)
    alarms.clear(conn, ALARM, f"account {directory_id}", now)
