"""What must hold after any fault: ten invariants, checked on the store alone, and one more about what a process printed.

==== ============================================================================================================
I1   no acknowledged write is lost: the account has the version that was answered, or a later one
I2   nobody is deactivated without a recorded reason: the push's request, or a planned action with its rule or proof
I3   local and protected accounts are touched by no push and no run, but for the push that links
I4   there is an active owner, if there ever was one
I5   one account for each userName key and each externalId
I6   the journal has one row for each write, and its chain is whole
I7   another run finds nothing to do
I8   nothing that was printed or stored holds a secret
I9   an inactive person has no live session: accounts have none (those of the dashboard are operators', by Okta's own sign-in)
I10  the guard's windows have every deactivation, and its counters tell the truth
==== ============================================================================================================
"""

from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
from sqlalchemy import Connection, func, select

from agent.store import plans, runs
from agent.store.engine import Store
from agent.store.tables import account, actions, deactivations, journal, metadata, users
from support.place import CHANGES, assert_whole

_BY_PEOPLE = ("cli", "dashboard")
_ENDS = ("deactivate", "remove")


class Acknowledged(NamedTuple):
    """What an answer said: this account has this version."""

    id: str
    version: int


def check(store: Store, acknowledged: Iterable[Acknowledged] = ()) -> None:
    """All but I7 and I8, at any moment, whatever has happened before."""
    assert_whole(store)  # I5, I6, and the counters of I10
    with store.read() as conn:
        _acknowledged(conn, acknowledged)
        rows = list(conn.execute(select(journal).where(*CHANGES).order_by(journal.c.id)))
        for row in rows:
            _reason(row)
            _ownership(row)
        once = Counter((row.plan_id, row.action_n, row.directory_id) for row in rows if row.plan_id)
        twice = [key for key, count in once.items() if count > 1 and key not in _cycles(conn)]
        assert twice == [], "an action was carried out twice"
        _owner(conn, rows)
        _windows(conn, rows)
    assert not [fk for fk in metadata.tables["sessions"].foreign_keys if fk.column.table is users], "I9"


def still_there(store: Store, acknowledged: Iterable[Acknowledged]) -> None:
    """I1 alone: quick, however long the journal is."""
    with store.read() as conn:
        _acknowledged(conn, acknowledged)


def settled(store: Store) -> None:
    """After the run that followed a crash: every run has its end, and no action's outcome is unknown."""
    with store.read() as conn:
        assert [run for run in runs.unfinished(conn) if not run.dry] == []
        assert plans.sent_actions(conn) == []


def no_op(store: Store, run: Callable[[], Any]) -> Any:
    """I7: the run writes nothing to the directory; answers what it answered."""
    before = _writes(store)
    answer = run()
    assert _writes(store) == before, "I7: another run found something to do"
    return answer


def no_secret(secrets: dict[str, str], folder: Path, texts: dict[str, str]) -> None:
    """I8: in no text and in no file below the folder, in whatever piece it may have been written."""
    found = []
    for name, secret in secrets.items():
        assert len(secret) >= 8, f"{name} is too short to be looked for"
        found += [f"{name} in {where}" for where, text in texts.items() if secret in text]
        found += [
            f"{name} in {file.relative_to(folder)}"
            for file in folder.rglob("*")
            if file.is_file() and secret.encode() in file.read_bytes()
        ]
    assert found == [], "I8"


def _acknowledged(conn: Connection, acknowledged: Iterable[Acknowledged]) -> None:
    versions = {row.id: row.version for row in conn.execute(select(users.c.id, users.c.version))}
    lost = [said for said in acknowledged if versions.get(said.id, 0) < said.version]
    assert lost == [], "I1: acknowledged, and not there"


def _reason(row: Any) -> None:
    if row.verb not in _ENDS:
        return
    if row.source == "push":
        assert row.request_id, f"I2: row {row.id}"
    elif row.source not in _BY_PEOPLE:
        assert row.run_id, f"I2: row {row.id}"
        assert row.plan_id, f"I2: row {row.id}"
        assert row.action_n is not None, f"I2: row {row.id}"
        assert row.reason, f"I2: row {row.id}"


def _ownership(row: Any) -> None:
    if row.before is None or row.source in _BY_PEOPLE:
        return
    before = msgspec.json.decode(row.before)
    assert not before["protected"], f"I3: row {row.id} changed a protected account"
    if before["origin"] == "local":
        assert row.verb == "link", f"I3: row {row.id} changed a local account"


def _cycles(conn: Connection) -> set[tuple[int, int, str]]:
    """Renames in a ring go through a temporary name: one action, two writes to one of its members."""
    ring = select(actions.c.plan_id, actions.c.n, actions.c.body).where(actions.c.kind == "rename_cycle")
    return {
        (row.plan_id, row.n, member[0])
        for row in conn.execute(ring)
        for member in msgspec.json.decode(row.body)["cycle"]
    }


def _owner(conn: Connection, rows: list[Any]) -> None:
    sides = (msgspec.json.decode(side) for row in rows for side in (row.before, row.after) if side)
    if any(side["role"] == "owner" and side["active"] for side in sides):
        left = conn.execute(select(func.count()).where(users.c.role == "owner", users.c.active)).scalar_one()
        assert left >= 1, "I4: no owner is left"


def _windows(conn: Connection, rows: list[Any]) -> None:
    ended = Counter(row.directory_id for row in rows if row.before and _ended(row))
    counted = Counter(conn.execute(select(deactivations.c.directory_id)).scalars())
    assert ended - counted == Counter(), "I10: deactivations that no window has"
    newest = conn.execute(select(deactivations).order_by(deactivations.c.id.desc()).limit(1)).first()
    if newest is not None:
        total = conn.execute(select(func.count()).where(~deactivations.c.exempt)).scalar_one()
        assert newest.counted >= total, "I10: the running total is below the rows"


def _ended(row: Any) -> bool:
    return bool(msgspec.json.decode(row.before)["active"] and not msgspec.json.decode(row.after)["active"])


def _writes(store: Store) -> tuple[int, int]:
    with store.read() as conn:
        applied = conn.execute(select(func.count()).where(journal.c.kind == "applied")).scalar_one()
        versions = conn.execute(select(func.sum(users.c.version))).scalar_one()
        assert conn.execute(select(func.count()).select_from(account)).scalar_one() == 1
        return applied, versions or 0
