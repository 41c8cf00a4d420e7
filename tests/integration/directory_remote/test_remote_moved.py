"""A 412: a sweep reads again and goes on as long as what it planned still is the difference."""

from collections.abc import Callable
from typing import Any

import pytest

from agent.model.codes import Source
from agent.model.errors import VersionConflict
from agent.model.users import DirectoryUser
from support.place import Place, okta_id
from support.sloppy import Call, Reply, Sloppy, error


def linked(place: Place) -> DirectoryUser:
    return place.post("ann@example.com", okta=okta_id(1), title="Clerk").user


def meanwhile(user: DirectoryUser, times: int, **changes: Any) -> Callable[[Sloppy, Call], Reply | None]:
    """Somebody else changes the account, or only its version, right before so many PATCHes."""
    left = list(range(times))

    def hook(server: Sloppy, call: Call) -> Reply | None:
        if call.method != "PATCH" or not left:
            return None
        number = left.pop()
        server.users[user.id] |= changes
        server.users[user.id]["meta"]["version"] = f'W/"9{number}"'
        return error(412)

    return hook


@pytest.mark.parametrize("changes", [{}, {"nickName": "Annie"}], ids=["nothing", "another attribute"])
def test_a_sweep_that_lost_a_race_tries_again_on_what_it_reads_then(
    sloppy_place: Place, sloppy: Sloppy, changes: dict[str, Any]
) -> None:
    user = linked(sloppy_place)
    sloppy.scripted = meanwhile(user, 2, **changes)
    changed = sloppy_place.change(user, source=Source.SWEEP, version=user.version, title="Chief")
    assert (changed.user.profile.title, changed.user.profile.nick_name) == ("Chief", changes.get("nickName"))
    assert sloppy.users[user.id]["title"] == "Chief"


@pytest.mark.parametrize(
    "changes", [{"title": "Cook"}, {"active": False}, {"userName": "lee@example.com"}], ids=lambda c: next(iter(c))
)
def test_a_sweep_whose_plan_the_race_has_overtaken_leaves_the_account_alone(
    sloppy_place: Place, sloppy: Sloppy, changes: dict[str, Any]
) -> None:
    user = linked(sloppy_place)
    sloppy.scripted = meanwhile(user, 1, **changes)
    with pytest.raises(VersionConflict):
        sloppy_place.change(user, source=Source.SWEEP, version=user.version, title="Chief")
    assert sloppy.count("PATCH") == 1


def test_an_account_that_keeps_changing_is_given_up(sloppy_place: Place, sloppy: Sloppy) -> None:
    user = linked(sloppy_place)
    sloppy.scripted = meanwhile(user, 9)
    with pytest.raises(VersionConflict, match="keeps changing"):
        sloppy_place.change(user, source=Source.SWEEP, version=user.version, title="Chief")
    assert sloppy.count("PATCH") == 3


def test_a_push_that_names_a_version_means_it(sloppy_place: Place, sloppy: Sloppy) -> None:
    user = linked(sloppy_place)
    sloppy.scripted = meanwhile(user, 1, nickName="Annie")
    with pytest.raises(VersionConflict, match="changed since"):
        sloppy_place.change(user, version=user.version, title="Chief")
    assert sloppy.users[user.id]["title"] == "Clerk"
