"""What must hold after each minute of a soak, and at its end. Reads the database, the logs and the ports; changes nothing.

What acknowledged pushes said is there; nobody is against an open decision; the loops tick, or an alarm is open and /readyz
says so; the journal is sealed and whole; nothing unexpected was logged; memory, threads and files don't grow.
"""

import os
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
from sqlalchemy import Connection, func, select

from agent.model.holds import ChangeKind, Decision, releasable
from agent.model.users import identity_key
from agent.reconcile.system_log import CURSOR
from agent.store import account, alarms, events, holds
from agent.store.tables import journal, users
from soak.stage import Stage, ready
from support.invariants import Acknowledged, check
from support.place import CHANGES

#: What pushes may be answered; 404: the account was renamed or is not there yet. None: nobody was there.
_ANSWERS = {200, 201, 204, 404, 409, 429, None}
#: So long everything may take until it works again, once the trouble is over.
PATIENCE = 90.0
#: Before something is taken to be wrong.
_LOOKS = 15
#: Seconds after a step of the clock for which its alarm is surely open.
_TOLD = 3000
#: A process that has met everything may be so much larger than after its first minute: megabytes, threads, files.
_GROWTH = (60.0, 12, 60)


class Blocked(NamedTuple):
    """An operator's word, and the newest row of the journal when it was given."""

    login: str
    directory_id: str
    journal_id: int


class Size(NamedTuple):
    megabytes: float
    threads: int
    files: int


class Book:
    """What a soak remembers of what was said and decided."""

    def __init__(self) -> None:
        self.blocks: dict[str, Blocked] = {}
        #: The newest row of the journal when applies were paused.
        self.paused_at: int | None = None
        self.acknowledged: dict[str, int] = {}
        self.answers: dict[Any, int] = {}
        self.sizes: list[Size] = []
        self._pushes = self._number = 0

    def next_number(self) -> int:
        self._number += 1
        return self._number

    def blocked(self, stage: Stage, login: str) -> None:
        with stage.store() as store, store.read() as conn:
            found = conn.execute(select(users.c.id).where(users.c.user_name_key == identity_key(login))).scalar()
            blocks = holds.open_holds(conn, people=[login], decision=Decision.BLOCKED)
            if found is not None and blocks:
                self.blocks[found] = Blocked(login, found, _newest(conn))

    def not_since(self, stage: Stage, block: Blocked) -> None:
        """Nobody has given a blocked person access again."""
        mine = (*CHANGES, journal.c.directory_id == block.directory_id, journal.c.id > block.journal_id)
        with stage.store() as store, store.read() as conn:
            rows = conn.execute(select(journal.c.id, journal.c.after).where(*mine))
            against = [row.id for row in rows if msgspec.json.decode(row.after)["active"]]
        assert against == [], f"{block}: given access again against the operator's block"

    def paused(self, stage: Stage) -> None:
        with stage.store() as store, store.read() as conn:
            self.paused_at = _newest(conn)

    def nothing_applied(self, stage: Stage) -> None:
        """No run has changed an account while applies were paused."""
        if self.paused_at is None:
            return
        since = (*CHANGES, journal.c.id > self.paused_at, journal.c.run_id.is_not(None))
        with stage.store() as store, store.read() as conn:
            rows = conn.execute(select(journal.c.id, journal.c.source).where(*since))
            assert [tuple(row) for row in rows] == [], "applied while paused"

    def hear(self, stage: Stage) -> None:
        """What Okta was answered since the last time."""
        for push in stage.org.pushes(self._pushes):
            self._pushes = push["n"]
            if push["dropped"]:
                continue
            status, answer = push["status"], push.get("answer")
            self.answers[status] = self.answers.get(status, 0) + 1
            assert status in _ANSWERS, push
            version = (answer.get("meta") or {}).get("version", "") if isinstance(answer, dict) else ""
            if push["method"] != "GET" and status in (200, 201) and version:
                number = int(version.removeprefix("W/").strip('"'))
                self.acknowledged[answer["id"]] = max(number, self.acknowledged.get(answer["id"], 0))


def holds_after_a_minute(stage: Stage, book: Book) -> None:
    """All of it, once the trouble is over."""
    began = time.monotonic()
    _until("readyz of both says ok", lambda: all(ready(d)[0] == 200 for d in stage.agents.alive().values()))
    book.hear(stage)
    _until("the loops tick", _ticking(stage), began)
    _settled(lambda: whole(stage, book))
    for block in book.blocks.values():
        book.not_since(stage, block)
    book.nothing_applied(stage)
    _until("the alarms are true", lambda: _alarms_are_true(stage))
    as_expected(stage)
    flat(stage, book)


def whole(stage: Stage, book: Book) -> None:
    with stage.store() as store:
        check(store, [Acknowledged(*pair) for pair in book.acknowledged.items()])
        with store.read() as conn:
            against_decisions(conn)


def against_decisions(conn: Connection) -> None:
    """No account is as its own open hold says that it must not become."""
    active = {row.id: bool(row.active) for row in conn.execute(select(users.c.id, users.c.active))}
    wrong = [
        (hold.login, hold.kind.value, hold.decision.value)
        for hold in holds.open_holds(conn)
        if (hold.kind is ChangeKind.DEACTIVATE and active.get(hold.directory_id or "") is False)
        or (hold.kind is ChangeKind.ACTIVATE and active.get(hold.directory_id or "") is True)
    ]
    assert wrong == [], f"against open decisions: {wrong}"


def _ticking(stage: Stage) -> Callable[[], bool]:
    """A run has ended, the System Log was read, the journal is sealed: each for the first time since this was called."""
    runs = len(_ends(stage))
    with stage.store() as store, store.read() as conn:
        read = _cursor(conn)
    person = stage.org.state("expected=false")[0]
    stage.org.api("POST", f"/users/{person['okta_id']}", {"profile": {"nickName": f"Run {runs}"}})

    def look() -> bool:
        with stage.store() as store, store.read() as conn:
            unsealed = conn.execute(select(func.count()).where(journal.c.block.is_(None))).scalar_one()
            return len(_ends(stage)) > runs and (_cursor(conn) != read or read is None) and not unsealed

    return look


def _ends(stage: Stage) -> list[Any]:
    return [line for _, line in stage.agents.logged() if line["event"] == "run ended"]


def _cursor(conn: Connection) -> Any:
    found = events.cursor(conn, CURSOR)
    return None if found is None else found.updated


def _alarms_are_true(stage: Stage) -> bool:
    with stage.store() as store, store.read() as conn:
        codes = {alarm.code for alarm in alarms.open_alarms(conn)}
    stepped = stage.stepped is not None and time.monotonic() - stage.stepped < _TOLD
    return "loop_overdue" not in codes and ("clock_step" in codes or not stepped)


def as_expected(stage: Stage) -> None:
    """No traceback, nothing that the daemon itself calls unexpected, no end that nobody asked for."""
    odd = [
        (name, line)
        for name, line in stage.agents.logged()
        if "level" not in line
        or line["level"] == "critical"
        or "unexpected" in line["event"]
        or "exception" in line
        or line["event"].startswith("Execution of job")
    ]
    assert odd == [], odd[:3]
    assert set(stage.agents.alive()) == {"steady", "victim"}, "a daemon has ended by itself"


def flat(stage: Stage, book: Book) -> None:
    """The daemon that was never restarted is no larger than after its first minute."""
    pid = stage.agents["steady"].process.pid
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    threads, files = (sum(1 for _ in Path(f"/proc/{pid}/{name}").iterdir()) for name in ("task", "fd"))
    book.sizes.append(Size(pages * os.sysconf("SC_PAGE_SIZE") / 1e6, threads, files))
    first, last = book.sizes[0], book.sizes[-1]
    grown = [name for name, a, b, most in zip(Size._fields, first, last, _GROWTH, strict=True) if b - a > most]
    assert grown == [], f"it grows: {first} … {last}"


def in_step(stage: Stage) -> None:
    """After a good sweep that nothing stands in the way of: whoever has the app in Okta is active here, nobody else is.

    But for those of whom a hold says that no approval lets them go.
    """
    people = stage.org.state("settle=0")
    with stage.store() as store, store.read() as conn:
        rows = {row.user_name_key: row for row in conn.execute(select(users))}
        by_okta = {row.okta_id: row for row in rows.values() if row.okta_id}
        # Two people with one name, say: each needs a decision of its own, and the hold says which.
        held = {h.okta_id: h.code.value for h in holds.open_holds(conn) if not releasable(h.code)}
        assert account.get(conn).last_good_sweep is not None
    wrong = []
    for person in people:
        row = by_okta.get(person["okta_id"])
        wanted = {"active": True, "none": False, "inactive": False}.get(person["wanted"])
        right = wanted is None or wanted == bool(row is not None and row.active)
        if not right and person["okta_id"] not in held:
            wrong.append((person["login"], person["wanted"], None if row is None else row.active))
    if wrong:
        with stage.store() as store, store.read() as conn:
            shown = [(h.login, h.kind.value, h.code.value, h.decision.value, h.detail) for h in holds.open_holds(conn)]
        raise AssertionError(f"not in step: {wrong}; held: {shown}; the last commands: {stage.commands[-8:]}")


def _newest(conn: Connection) -> int:
    return int(conn.execute(select(func.coalesce(func.max(journal.c.id), 0))).scalar_one())


def _settled(look: Callable[[], None]) -> None:
    """Okta still pushes and runs go on, so that what is read in several steps may not fit together; what is wrong stays so."""
    for _ in range(_LOOKS):
        with suppress(AssertionError):
            return look()
        time.sleep(1)
    return look()


def _until(what: str, holds_now: Callable[[], bool], began: float | None = None) -> None:
    deadline = (time.monotonic() if began is None else began) + PATIENCE
    while not holds_now():
        assert time.monotonic() < deadline, f"not within {PATIENCE:.0f} s after the trouble: {what}"
        time.sleep(0.5)
