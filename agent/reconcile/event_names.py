"""What one event of Okta's System Log, or of an event hook, names. Pure; an event is never acted on, only looked at.

=====================================================  ==========================================================
event                                                  names
=====================================================  ==========================================================
``application.user_membership.*``,                     the person
``application.provision.user.*`` of this app
the same of another app                                nobody
``group.application_assignment.*``,                    everybody: a sweep
``application.lifecycle.*`` of this app
``user.lifecycle.activate``, ``reactivate``,           the person: somebody who waited for it may have no account yet
``unsuspend``
``group.user_membership.*`` of a group of roles.owner  the person, if an account here is bound to them
other ``user.lifecycle.*``,                            the person, if an account here is bound to them
``user.account.update_*``
anything else                                          nobody
=====================================================  ==========================================================

An event of the first row without any app in it names the person only if an account is bound to them.
"""

import re
from collections.abc import Collection, Iterable
from datetime import UTC, datetime

from msgspec import Struct

from agent.model.okta import LogEvent
from agent.store.events import PushFailure

#: Okta ids are letters and digits; anything else must not reach an address.
_OKTA_ID = re.compile(r"[0-9A-Za-z]{1,64}")
_PERSON = ("application.user_membership.", "application.provision.user.")
_EVERYBODY = ("group.application_assignment.", "application.lifecycle.")
_ARRIVING = frozenset({"user.lifecycle.activate", "user.lifecycle.reactivate", "user.lifecycle.unsuspend"})
#: Who is in a group: of interest are the groups that give roles.
MEMBERSHIP = "group.user_membership."
_LIFECYCLE = ("user.lifecycle.", "user.account.update_")
_PUSH = "application.provision.user."
#: Pushes of the person themselves; Okta's check whether an account exists says nothing of one that came through.
_NO_PUSH = frozenset({_PUSH + "verify_exists", _PUSH + "import", _PUSH + "import_profile"})
_NEVER = datetime(1970, 1, 1, tzinfo=UTC)

#: What an event hook subscribes to; of the names above Okta offers only these.
HOOK_EVENTS = (
    *(f"application.user_membership.{verb}" for verb in ("add", "remove", "update")),
    *(f"application.provision.user.{verb}" for verb in ("push", "push_profile", "reactivate", "sync")),
    *(f"application.lifecycle.{verb}" for verb in ("activate", "deactivate", "update")),
    *(f"group.application_assignment.{verb}" for verb in ("add", "remove", "update")),
    *(f"user.lifecycle.{verb}" for verb in ("activate", "deactivate", "suspend", "unsuspend", "reactivate")),
    "user.lifecycle.delete.initiated",
    "user.account.update_profile",
)


#: The same, where groups give roles.
HOOK_EVENTS_WITH_ROLES = (*HOOK_EVENTS, *(f"{MEMBERSHIP}{verb}" for verb in ("add", "remove")))


class Named(Struct, kw_only=True):
    """What some events name together."""

    people: set[str] = set()
    #: Named too, if an account here is bound to them.
    if_bound: set[str] = set()
    everybody: bool = False
    failures: list[PushFailure] = []
    #: Person → when Okta's last push of them came through.
    pushed: dict[str, datetime] = {}


def log_filter(app_id: str, groups: Iterable[str] = ()) -> str:
    """The System Log's own filter for what can name somebody; sign-ins to the app are left out. ``groups``: that give roles."""
    of_app = " or ".join(f'eventType sw "{kind}"' for kind in (*_PERSON, *_EVERYBODY))
    of_people = " or ".join(f'eventType sw "{kind}"' for kind in _LIFECYCLE)
    of_groups = " or ".join(f'target.id eq "{group}"' for group in groups)
    members = f' or (eventType sw "{MEMBERSHIP}" and ({of_groups}))' if of_groups else ""
    return f'(target.id eq "{app_id}" and ({of_app})) or {of_people}{members}'


def named(events: Iterable[LogEvent], app_id: str, groups: Collection[str] = ()) -> Named:
    """``groups``: ids of those that give roles."""
    found = Named()
    for event in events:
        if not event.event_type.startswith(MEMBERSHIP):
            _one(event, app_id, found)
        elif any(target.type == "UserGroup" and target.id in groups for target in event.target or ()):
            found.if_bound |= _people(event)
    return found


def _people(event: LogEvent) -> set[str]:
    return {
        t.id
        for t in event.target or ()
        if t.type in ("User", "AppUser") and t.id.startswith("00u") and _OKTA_ID.fullmatch(t.id)
    }


def _one(event: LogEvent, app_id: str, found: Named) -> None:
    kind, targets = event.event_type, event.target or ()
    apps = {target.id for target in targets if target.type == "AppInstance"}
    people = _people(event)
    if kind.startswith(_EVERYBODY):
        found.everybody |= app_id in apps
    elif kind.startswith(_PERSON):
        if apps and app_id not in apps:
            return
        (found.people if apps else found.if_bound).update(people)
        if apps:
            _push(event, people, found)
    elif kind in _ARRIVING:
        found.people |= people
    elif kind.startswith(_LIFECYCLE):
        found.if_bound |= people


def _push(event: LogEvent, people: set[str], found: Named) -> None:
    if not event.event_type.startswith(_PUSH) or event.outcome is None:
        return
    at = event.published or _NEVER
    for okta_id in people:
        if event.outcome.result == "FAILURE":
            reason = event.outcome.reason or "Okta gives no reason"
            found.failures.append(PushFailure(okta_id=okta_id, event_type=event.event_type, reason=reason, at=at))
        elif event.outcome.result == "SUCCESS" and event.event_type not in _NO_PUSH:
            found.pushed[okta_id] = max(at, found.pushed.get(okta_id, _NEVER))
