"""What the remote keeps of an account: learned from its Schemas, its refusals and what comes back after a write. Makes no call.

=================================================  =========================================================================
the remote                                         then
=================================================  =========================================================================
doesn't list an attribute in Schemas, nor the      not sent, not compared (``unlisted``)
extension in its ResourceTypes
refuses what has an attribute, calling that        sent without it; if that is taken: the same (``refuses``)
unknown, and takes it without
says yes, and a read shows the attribute as it     the same (``drops``; ``own`` where it holds a value): where the rest of the
was                                                write, a new version or a new account shows that the read came after it; else
                                                   from the second time on
says yes, and a read shows any other value, or     the same, from the second time on: once it may have been somebody else
one that was not written has changed with it
says yes, and a read shows nothing of a write      nothing is learned
that had a userName, an e-mail or the switch too
says yes, and a read shows the value in another    compared without regard to case and blanks (``respells``)
spelling
=================================================  =========================================================================

UserName, active and roles are never left out, e-mails only where no account shows one. What is noted is tried again after a
day: the next write that has the attribute says what holds now. What the remote has a value of its own for, it may make
out of others, and now and then that is what was written: only a write of nothing else shows that it is kept.
"""

import re
import threading
import time
from collections.abc import Callable, Collection, Iterable, Mapping
from datetime import datetime, timedelta
from functools import partial
from typing import Any

import msgspec
import structlog
from sqlalchemy import select

from agent.directory.remote import change
from agent.directory.remote.provider import Shape
from agent.model.codes import FindingCode
from agent.model.errors import RemoteRefused
from agent.model.mapping import EVERYTHING, Kept, covers, respelled
from agent.model.mapping import Mapping as AttributeMapping
from agent.model.plan import Finding
from agent.model.structs import ready
from agent.model.users import ENTERPRISE_URN, PROFILE, Profile, identity_key
from agent.store import unkept
from agent.store.engine import Connection, Store
from agent.store.tables import users
from agent.store.unkept import Loss, Unkept

log = structlog.get_logger("agent.directory.remote")

#: How long what was noted holds.
DAY = timedelta(days=1)
#: Other processes note things too.
_REREAD = 30.0
_EMAILS = "emails"
#: Without these nobody can sign in, be found or be ended. E-mails are left out only where no account shows one.
_NEVER = frozenset({"userName", "active", _EMAILS, "externalId", "roles", "id", "schemas"})
#: Of a refusal: it is the attribute that is refused, not this person's value.
_UNKNOWN = re.compile(
    r"unknown|unsupported|unexpected|unrecogni[sz]ed|undefined|no such|additional propert|extra (input|field)|read.?only|immutable"
    r"|not (be )?(supported|permitted|allowed|define|declare|recogni[sz]ed|known|valid attribute|part of)|does ?n.t exist|schema",
    re.IGNORECASE,
)
#: Of a refusal: what is unknown is part of an attribute, which itself may well be listed.
_PART = re.compile(r"sub-?attribute", re.IGNORECASE)
_OF_VALUES = frozenset({"invalidValue", "uniqueness", "tooMany", "sensitive"})


class Keeps:
    """Thread-safe. ``remote``: its base address."""

    def __init__(self, store: Store, remote: str, clock: Callable[[], datetime]) -> None:
        self._store, self._remote, self._clock = store, remote[:255], clock
        self._lock = threading.Lock()
        self._read = float("-inf")
        self._notes: dict[str, Unkept] = {}
        #: What came otherwise once.
        self._doubted: frozenset[str] = frozenset()
        #: What its Schemas list as written by its clients.
        self._listed: frozenset[str] = frozenset()

    @property
    def notes(self) -> Mapping[str, Unkept]:
        with self._lock:
            if time.monotonic() - self._read > _REREAD:
                with self._store.read() as conn:
                    found = [
                        one for one in unkept.of(conn, self._remote) if one.attribute != _EMAILS or not _any_email(conn)
                    ]
                self._notes = {note.attribute: note for note in found if note.how is not Loss.DOUBTED}
                self._doubted = frozenset(note.attribute for note in found if note.how is Loss.DOUBTED)
                self._read = time.monotonic()
            return self._notes

    def _shows_emails(self) -> bool:
        """Some account shows one: there is a place for them."""
        with self._store.read() as conn:
            return _any_email(conn)

    @property
    def kept(self) -> Kept:
        notes = self.notes
        if not notes:
            return EVERYTHING
        other = frozenset(name for name, note in notes.items() if note.how is Loss.RESPELLS)
        due = frozenset(name for name, note in notes.items() if self._due(note))
        return Kept(frozenset(notes) - other, other, due)

    def findings(self, mapping: AttributeMapping) -> list[Finding]:
        return [Finding(code=FindingCode.NOT_KEPT, login="", detail=text) for text in self.told(mapping)]

    @property
    def has_emails(self) -> bool:
        return _EMAILS not in self.kept.not_these

    def told(self, mapping: AttributeMapping) -> list[str]:
        """Each once, of what Okta's app profile would bring, with how to say the same by hand."""
        notes = [(note, mapping.sources(note.attribute)) for note in self.notes.values()]
        return [_told(note, sources) for note, sources in notes if sources or note.attribute == _EMAILS]

    # Before a write

    def fit(self, before: Profile | None, after: Profile) -> Profile:
        """``after`` as far as the remote keeps it; what is due to be tried again is left in."""
        notes = self.notes
        if not notes:
            return after
        names = [n for n, note in notes.items() if note.how is not Loss.RESPELLS and not self._due(note)]
        return without(before or Profile(), after, names)

    # What became of one

    def unmet(
        self,
        before: Mapping[str, Any] | None,
        after: Mapping[str, Any],
        found: Mapping[str, Any],
        *,
        came: bool,
        directory_id: str,
    ) -> list[str]:
        """After a yes: what is missing and should not be. What the remote doesn't keep is noted instead.

        ``came``: the read was certainly made after the write.
        """
        missing = change.unfulfilled(before, after, found)
        changed = change.unfulfilled(before, after, before or {})
        placeless = _EMAILS in missing and not found.get(_EMAILS) and not self._shows_emails()
        known = placeless and self._known_otherwise(_EMAILS)
        if len(missing) == len(changed) and any(_is_vital(name, but_emails=known) for name in missing):
            # Not even a name, an e-mail or the switch came: it did nothing, which tells nothing of the others.
            return missing
        self._kept_after_all([name for name in changed if name not in missing], after, alone=len(changed) == 1)
        beside = change.unfulfilled(found, before, found) if before is not None else []
        self._doubt([name for name in beside if not _is_vital(name) and name not in changed])
        if not missing:
            return []
        came = came or len(changed) > len(missing)
        mine = [name for name in missing if not _is_vital(name, but_emails=placeless)]
        was, wanted, shown = (change.flat(value) for value in (before or {}, after, found))
        as_before = {name for name in mine if (was.get(name) or None) == (shown.get(name) or None)}
        spelled = [
            name
            for name in mine
            if _respelled(name, wanted.get(name), shown.get(name)) and (came or name not in as_before)
        ]
        rest = [name for name in mine if name not in spelled]
        # An e-mail may show once somebody has confirmed it.
        sure = [n for n in rest if n in as_before and (came or bool(spelled)) and n != _EMAILS]
        lost = [n for n in rest if n in sure or self._known_otherwise(n)]
        self._doubt([name for name in rest if name not in lost])
        own = [name for name in lost if shown.get(name)]
        self.note(spelled, Loss.RESPELLS, directory_id=directory_id)
        self.note(own, Loss.OWN, directory_id=directory_id)
        self.note(_together([n for n in lost if n not in own], shown), Loss.DROPS, directory_id=directory_id)
        return [name for name in missing if name not in spelled and name not in lost]

    def _known_otherwise(self, name: str) -> bool:
        """It came otherwise before; another spelling is no other value."""
        noted = [one for one, note in self.notes.items() if note.how is not Loss.RESPELLS]
        return name in self._doubted or any(covers(one, name) for one in noted)

    def blamed(self, refused: RemoteRefused, sent: Iterable[str], *, without_emails: bool = False) -> list[str]:
        """Of the attributes that were sent, those that the remote says no to; none where it is a value that it refuses.

        ``without_emails``: the account is there, and shows none.
        """
        words = refused.detail
        part = _PART.search(words) is not None
        if refused.status not in (400, 422) or (refused.scim_type in _OF_VALUES and not part):
            return []
        placeless = without_emails and not self._shows_emails()
        candidates = [
            name for name in sent if (name not in self._listed or part) and not _is_vital(name, but_emails=placeless)
        ]
        named = [name for name in candidates if re.search(rf"\b{re.escape(_leaf(name))}\b", words, re.IGNORECASE)]
        extension = [name for name in candidates if name.startswith(ENTERPRISE_URN)]
        if named:
            return named if _UNKNOWN.search(words) or refused.scim_type in ("invalidPath", "mutability") else []
        if not extension or any(re.search(rf"\b{name}\b", words, re.IGNORECASE) for name in _OTHERS):
            return []
        return [] if ENTERPRISE_URN in self._listed else [ENTERPRISE_URN]

    def note(self, names: Collection[str], how: Loss, words: str = "", *, directory_id: str | None = None) -> None:
        """``names`` are not kept, as an answer has just shown."""
        if names:
            told = {"attributes": sorted(names), "how": how.value, "directory_id": directory_id}
            log.warning("remote OpsHelm: attributes are not kept there", **told)
            self._store_notes(names, how, words)

    def _doubt(self, names: Collection[str]) -> None:
        names = [name for name in names if not (self._known_otherwise(name) or name in self.notes)]
        if names:
            log.info("remote OpsHelm: attributes came otherwise than written", attributes=sorted(names))
            self._store_notes(names, Loss.DOUBTED)

    def _store_notes(self, names: Collection[str], how: Loss, words: str = "") -> None:
        now = self._clock()

        def work(conn: Connection) -> None:
            for name in names:
                one = Unkept(attribute=name, how=how, words=words, since=now, asked=now)
                unkept.note(conn, self._remote, one)

        if names:
            self._write(work)

    def _kept_after_all(self, names: Collection[str], after: Mapping[str, Any], *, alone: bool) -> None:
        """``alone``: nothing else was written that the remote could make it out of."""
        noted = [
            name for name, note in self.notes.items() if any(self._disproves(n, after, note, alone) for n in names)
        ]
        if noted:
            log.info("remote OpsHelm: attributes are kept there now", attributes=noted)
        if alone:
            noted += self._doubted.intersection(names)
        if noted:
            self._write(lambda conn: unkept.forget(conn, self._remote, noted))

    def _disproves(self, name: str, after: Mapping[str, Any], note: Unkept, alone: bool) -> bool:
        """``name`` is kept as it was written."""
        if not covers(note.attribute, name):
            return False
        match note.how:
            case Loss.DROPS:
                return True
            case Loss.OWN:
                return alone
            case Loss.RESPELLS:
                # Not all values have two spellings.
                value = change.flat(after).get(name)
                return self._due(note) and isinstance(value, str) and value != identity_key(value)
            case _:
                return self._due(note)

    # Schemas

    def shaped(self, shape: Shape) -> None:
        """As its Schemas and ResourceTypes say."""
        self._listed, unlisted = shape.listed, shape.unlisted
        known = {name for name, note in self.notes.items() if note.how is Loss.UNLISTED}
        new = {name for name in unlisted if name not in self.notes and not _is_vital(name)}
        if not (self._listed or unlisted):
            return
        if known - unlisted:
            self._write(lambda conn: unkept.forget(conn, self._remote, known - unlisted))
        self._store_notes(new | (known & unlisted), Loss.UNLISTED)

    def _write(self, work: Callable[[Connection], None]) -> None:
        self._store.write(work)
        with self._lock:
            self._read = float("-inf")

    def _due(self, note: Unkept) -> bool:
        return note.asked is None or self._clock() - note.asked >= DAY


def without(before: Profile, after: Profile, names: Iterable[str]) -> Profile:
    """``after`` with these as they are in ``before``."""
    old, new = (change.flat(msgspec.to_builtins(profile)) for profile in (before, after))
    left = {part: old.get(part) for part in {*old, *new} if any(covers(name, part) for name in names)}
    if all(new.get(part) == value for part, value in left.items()):
        return after
    return msgspec.convert(change.nested({**new, **left}), ready[Profile])


def _any_email(conn: Connection) -> bool:
    return conn.execute(select(users.c.id).where(users.c.email_key != "").limit(1)).first() is not None


def _is_vital(name: str, *, but_emails: bool = False) -> bool:
    return name.partition(".")[0] in _NEVER and not (but_emails and name == _EMAILS)


def _leaf(name: str) -> str:
    return "enterprise" if name == ENTERPRISE_URN else name.removeprefix(f"{ENTERPRISE_URN}:").rpartition(".")[2]


#: Words of a refusal that are about something else than the extension.
_OTHERS = ("userName", "active", *(attribute.name for attribute in PROFILE if attribute.name != ENTERPRISE_URN))


def _respelled(name: str, wanted: Any, shown: Any) -> bool:
    texts, theirs = _texts(wanted), _texts(shown)
    alike = bool(wanted) and type(wanted) is type(shown) and len(texts) == len(theirs)
    return alike and all(map(partial(respelled, name), texts, theirs))


def _texts(value: Any) -> list[str | None]:
    """A text, or those of several values."""
    texts = (
        [item.get("value") if isinstance(item, Mapping) else None for item in value]
        if isinstance(value, list)
        else [value]
    )
    return [text if isinstance(text, str) else None for text in texts]


def _together(names: list[str], found: Mapping[str, Any]) -> list[str]:
    """The whole extension, where nothing of it is there."""
    rest = [name for name in names if not name.startswith(ENTERPRISE_URN)]
    none = len(rest) < len(names) and not any(name.startswith(ENTERPRISE_URN) for name in found)
    return [*rest, ENTERPRISE_URN] if none else names


def _told(note: Unkept, sources: list[str]) -> str:
    name = (
        "the enterprise extension"
        if note.attribute == ENTERPRISE_URN
        else note.attribute.removeprefix(f"{ENTERPRISE_URN}:")
    )
    if note.how is Loss.RESPELLS:
        return f"OpsHelm keeps {name} in a spelling of its own: case and blanks are not compared"
    why = {
        Loss.DROPS: "takes it and doesn't keep it",
        Loss.OWN: "takes it and shows a value of its own",
        Loss.REFUSES: f"refuses it ({note.words.rstrip('.')[:200]})" if note.words else "refuses it",
        Loss.UNLISTED: "doesn't list it in its Schemas",
    }[note.how]
    lines = ", ".join(f'{source} = ""' for source in sources)
    by_hand = f". By hand, in [mapping]: {lines}" if lines else ""
    return f"{name} is neither sent nor compared, since OpsHelm {why}{by_hand}"
