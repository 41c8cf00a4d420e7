"""The mapping belongs to the database: whoever has another one is refused, and a change is one step for every agent on it."""

import pytest
from sqlalchemy import select

from agent.directory import rows
from agent.directory.sql import SqlDirectory
from agent.model.errors import OtherMapping
from agent.model.mapping import Mapping
from agent.settings import Settings
from agent.store.journal import Signature
from agent.store.tables import journal, users
from support.place import ROOMY, Place, okta_id

OTHER = Settings(guard=ROOMY, mapping={"nickName": "", "jobTitle": "title", "title": ""})


def compared(world: Place, directory: SqlDirectory) -> dict[str, str]:
    with world.store.read() as conn:
        return directory.policy.mapping.values(conn.execute(select(users.c.mapped)).scalar_one())


def by(world: Place) -> Signature:
    return Signature(actor="operator ann", source="cli", at=world.now, reason="ticket 4711")


@pytest.fixture
def somebody(world: Place) -> Place:
    world.post("pat@example.com", okta=okta_id(1), name=None, title="Lead", nick_name="Pat")
    return world


def test_who_makes_the_database_gives_it_its_mapping(somebody: Place) -> None:
    account = somebody.account()
    assert (account.mapping_hash, account.mapping_version) == (Mapping().hash, 1)
    assert compared(somebody, somebody.directory) == {"nickName": "Pat", "title": "Lead"}


def test_who_comes_with_another_one_is_told_how_it_differs_and_changes_nothing(somebody: Place) -> None:
    with pytest.raises(
        OtherMapping, match=r"title is compared with title there, with jobTitle here.*config apply"
    ) as told:
        SqlDirectory(somebody.store, OTHER)
    assert told.value.exit_code == 2
    assert compared(somebody, somebody.directory) == {"nickName": "Pat", "title": "Lead"}


def test_a_change_is_versioned_journalled_and_holds_for_everybody(somebody: Place) -> None:
    assert rows.change_mapping(somebody.store, Mapping(OTHER.mapping), by(somebody)) == 2
    assert rows.rebuild(somebody.store, Mapping(OTHER.mapping)) == 1
    assert compared(somebody, SqlDirectory(somebody.store, OTHER)) == {"title": "Lead"}
    with somebody.store.read() as conn:
        row = conn.execute(select(journal).order_by(journal.c.id.desc())).first()
    assert (row.verb, row.actor, row.reason) == ("mapping", "operator ann", "ticket 4711")
    assert ('"title":"title"' in row.before, '"title":"jobTitle"' in row.after) == (True, True)
    assert rows.change_mapping(somebody.store, Mapping(OTHER.mapping), by(somebody)) is None


def test_an_agent_that_still_has_the_former_one_writes_nothing_until_it_was_renewed(somebody: Place) -> None:
    before = somebody.directory.find(user_name_key="pat@example.com")
    rows.change_mapping(somebody.store, Mapping(OTHER.mapping), by(somebody))
    with pytest.raises(OtherMapping):
        somebody.post("new@example.com", okta=okta_id(2))
    assert somebody.directory.find(user_name_key="pat@example.com") == before
    somebody.directory.renew(OTHER, by(somebody))
    somebody.post("new@example.com", okta=okta_id(2))
    assert somebody.account().mapping_version == 2


def test_others_are_told_of_a_change_before_the_rows_are_built_anew(somebody: Place) -> None:
    """So that a daemon's further processes refuse nobody for as long as that takes."""
    told: list[tuple[int, bool]] = []

    def tell() -> None:
        row = somebody.account()
        told.append((row.mapping_version, row.mapping_seq is not None))

    somebody.directory.renew(OTHER, by(somebody), tell)
    assert told == [(2, True)]
    assert somebody.account().mapping_seq is None


def test_what_a_kill_left_of_a_change_is_done_by_the_next_sweep(somebody: Place) -> None:
    rows.change_mapping(somebody.store, Mapping(OTHER.mapping), by(somebody))
    again = SqlDirectory(somebody.store, OTHER)
    again.refresh(lambda _what, _count: None)
    assert compared(somebody, again) == {"title": "Lead"}
    assert somebody.account().mapping_seq is None
