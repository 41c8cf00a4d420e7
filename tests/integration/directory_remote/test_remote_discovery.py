"""A remote whose ServiceProviderConfig is broken is worked with as one that has none."""

import pytest
from msgspec.structs import replace

from agent.checks import remote as checks
from agent.model.check import CheckState
from agent.model.errors import DirectoryUnavailable
from support.place import Place, okta_id
from support.remotes import QUICK
from support.sloppy import Call, Reply, Sloppy, error

BROKEN = {
    "500": Reply(500),
    "503": Reply(503, **{"Retry-After": "600"}),
    "a web page": Reply(200, raw=b"<html>welcome"),
    "an array": Reply(200, []),
    "nothing": Reply(200, raw=b""),
}


def broken(sloppy: Sloppy, reply: Reply) -> None:
    sloppy.scripted = lambda _, call: reply if call.path == "/ServiceProviderConfig" else None


@pytest.mark.parametrize("reply", BROKEN.values(), ids=BROKEN.keys())
def test_people_are_listed_made_and_changed_without_a_usable_discovery(
    sloppy_place: Place, sloppy: Sloppy, reply: Reply
) -> None:
    broken(sloppy, reply)
    user = sloppy_place.post("ann@example.com", okta=okta_id(1)).user
    assert sloppy_place.change(user, title="Clerk").user.profile.title == "Clerk"
    assert [u.id for page in sloppy_place.directory.everyone() for u in page] == [user.id]
    told = {check.name: check for check in checks.checks(sloppy_place.directory, sloppy_place.now)}
    assert told["remote abilities"].state is CheckState.WARN
    assert "ServiceProviderConfig answered" in told["remote abilities"].detail


def test_a_broken_discovery_is_tried_again_at_once_and_after_a_while(sloppy_place: Place, sloppy: Sloppy) -> None:
    broken(sloppy, Reply(500))
    assert not sloppy_place.directory.reader.provider().announced
    tries = sloppy.count("GET", "/ServiceProviderConfig")
    assert tries > 1
    sloppy.scripted = None
    assert sloppy_place.directory.reader.provider().problem == "answered 500"
    assert sloppy.count("GET", "/ServiceProviderConfig") == tries
    sloppy_place.directory.transport.pace = replace(QUICK, assumed=0.0)
    assert sloppy_place.directory.reader.provider().announced
    assert sloppy_place.directory.reader.provider().announced
    assert sloppy.count("GET", "/ServiceProviderConfig") == tries + 1


@pytest.mark.parametrize("reply", [error(401), Reply(302, Location="https://other.example.com/")])
def test_a_wrong_key_or_address_is_no_broken_discovery(sloppy_place: Place, sloppy: Sloppy, reply: Reply) -> None:
    def everywhere(_: Sloppy, call: Call) -> Reply:
        return reply

    sloppy.scripted = everywhere
    with pytest.raises(DirectoryUnavailable):
        sloppy_place.directory.reader.provider()
