"""From what the journal keeps of a change to what would take it back. Pure; knows no journal and no directory."""

from collections.abc import Iterator
from datetime import UTC, datetime

import msgspec
from msgspec import Struct, field
from msgspec.structs import asdict, replace

from agent.model.codes import ActionKind
from agent.model.holds import ChangeKind, wish, wishes_between
from agent.model.mapping import Mapping
from agent.model.plan import Action, Change
from agent.model.structs import decoder
from agent.model.users import DirectoryUser, Origin, Profile, Role

_NEVER = datetime(1970, 1, 1, tzinfo=UTC)
#: What makes an account what it is; the rest is the database's own.
_ESSENCE = ("user_name", "okta_id", "active", "role", "origin", "protected", "suspended", "hidden", "profile")
#: As a plan calls them.
_NAMES = {"user_name": "userName", "okta_id": "externalId"}


class _View(Struct, frozen=True, kw_only=True, rename="camel"):
    """agent.directory.guarded.view, but for the profile."""

    user_name: str
    okta_id: str | None = field(name="externalId")
    active: bool
    role: Role
    origin: Origin
    protected: bool
    suspended: bool
    hidden: bool


_view = decoder(_View)
_profile = decoder(Profile)
_plain = decoder(dict[str, object])
_encode = msgspec.json.Encoder().encode


class Past(Struct, frozen=True, kw_only=True):
    """What a run, or a window of pushes, did to one account."""

    directory_id: str
    #: None: the account was made.
    before: DirectoryUser | None
    after: DirectoryUser

    @classmethod
    def of(cls, directory_id: str, before: str | None, after: str) -> "Past":
        return cls(
            directory_id=directory_id,
            before=None if before is None else _user(directory_id, before),
            after=_user(directory_id, after),
        )

    def left_in(self, now: DirectoryUser) -> bool:
        return _essence(now) == _essence(self.after)

    def restored(self, now: DirectoryUser, at: datetime) -> DirectoryUser:
        """``now`` as it was before. An account that was made is hidden, as a SCIM DELETE leaves it."""
        past = self.before
        if past is None:
            return replace(now, active=False, hidden=True, suspended=False, role=Role.MEMBER, deactivated=at)
        values = {name: getattr(past, name) for name in _ESSENCE}
        return replace(now, **values, deactivated=None if past.active else now.deactivated or at)

    def is_back(self, now: DirectoryUser) -> bool:
        return _essence(now) == _essence(self.restored(now, _NEVER))

    def wishes(self, mapping: Mapping) -> dict[ChangeKind, str]:
        """What was wanted of the account, by kind of change, as the register of holds remembers wishes."""
        found = wishes_between(self.before, self.after)
        if ChangeKind.UPDATE in found and self.before is not None:
            old, new = mapping.project(self.before.profile), mapping.project(self.after.profile)
            found[ChangeKind.UPDATE] = wish({p: after for p, (_, after) in mapping.differences(old, new, 0).items()})
        return found

    def action(self, n: int, rule: str, undoes: tuple[int, int], version: int) -> Action:
        kind = ActionKind.UPDATE
        back = self.restored(self.after, _NEVER)
        if self.after.active and not back.active:
            kind = ActionKind.DEACTIVATE
        elif back.active and not self.after.active:
            kind = ActionKind.REACTIVATE
        return Action(
            n=n,
            kind=kind,
            login=self.after.user_name,
            directory_id=self.directory_id,
            okta_id=self.after.okta_id or back.okta_id,
            changes=dict(_changes(self.after, back)),
            rule=rule,
            version=version,
            proof=rule if kind is ActionKind.DEACTIVATE else None,
            undoes=undoes,
        )


def _user(directory_id: str, view: str) -> DirectoryUser:
    head = asdict(_view(view))
    return DirectoryUser(id=directory_id, profile=_profile(view), created=_NEVER, updated=_NEVER, **head)


def _essence(user: DirectoryUser) -> tuple[object, ...]:
    return tuple(getattr(user, name) for name in _ESSENCE)


def _changes(now: DirectoryUser, back: DirectoryUser) -> Iterator[tuple[str, Change]]:
    for name in _ESSENCE[:-1]:
        before, after = getattr(now, name), getattr(back, name)
        if before != after:
            yield _NAMES.get(name, name), Change(before=before, after=after)
    old, new = _plain(_encode(now.profile)), _plain(_encode(back.profile))
    for name in {**old, **new}:
        if old.get(name) != new.get(name):
            yield name, Change(before=old.get(name), after=new.get(name))
