"""What a remote doesn't keep of an account is learned from what it says and shows, told once, and asked again."""

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from agent.directory.remote.keeps import DAY
from agent.model.codes import Source
from agent.model.errors import DirectoryUnavailable, NotDone, RemoteRefused
from agent.model.mapping import Kept
from agent.model.paths import EMAIL_PATH
from agent.model.users import ENTERPRISE_URN, Address, DirectoryUser, Enterprise, MultiValue, Name
from agent.runs.frame import Silent
from agent.store import intents, unkept
from agent.store.unkept import Loss
from support.place import Place, okta_id
from support.remotes import Remote
from support.sloppy import CORE, KEY, Call, Reply, Sloppy, error
from support.world import RAISED, World, open_world

TITLE = Kept(frozenset({"title"}))


def linked(place: Place, name: str = "ann@example.com", number: int = 1, **profile: Any) -> DirectoryUser:
    return place.post(name, okta=okta_id(number), **profile).user


def drops(name: str) -> Callable[[Sloppy, Call], Reply]:
    """A yes, which even shows it, and it isn't kept; other parts of the same write are."""

    def answer(server: Sloppy, call: Call) -> Reply:
        reply = server.apply(call)
        for user in server.users.values():
            user.pop(name, None)
        return reply

    return answer


def sent(sloppy: Sloppy) -> list[Any]:
    return [call.body for call in sloppy.calls if call.writes]


def notes(place: Place, sloppy: Sloppy) -> dict[str, Loss]:
    with place.store.read() as conn:
        return {note.attribute: note.how for note in unkept.of(conn, sloppy.url)}


def test_what_a_create_leaves_out_is_neither_sent_nor_wanted_again(sloppy_place: Place, sloppy: Sloppy) -> None:
    sloppy.scripted = drops("title")
    linked(sloppy_place, title="Clerk", nick_name="Annie")
    assert sloppy_place.directory.kept == TITLE
    user = linked(sloppy_place, "bob@example.com", 2, title="Chief", nick_name="Bob")
    assert ["title" in body for body in sent(sloppy)] == [True, False]
    for source in (Source.PUSH, Source.SWEEP):
        assert not sloppy_place.change(user, source=source, title="Boss").changed
        user = sloppy_place.change(user, source=source, title="Boss", locale=source.value).user
    assert (user.profile.title, user.profile.nick_name, user.profile.locale) == (None, "Bob", "sweep")
    (finding,) = sloppy_place.directory.findings
    assert finding.code.value == "not_kept"
    assert "title is neither sent nor compared" in finding.detail
    assert 'in [mapping]: title = ""' in finding.detail


def test_a_push_is_done_where_the_rest_of_it_came(sloppy_place: Place, sloppy: Sloppy) -> None:
    user = linked(sloppy_place)
    sloppy.scripted = drops("title")
    changed = sloppy_place.change(user, title="Clerk", nick_name="Annie")
    assert (changed.changed, changed.user.profile.nick_name, changed.user.profile.title) == (True, "Annie", None)
    assert sloppy_place.directory.kept == TITLE


def test_a_yes_that_brings_nothing_says_something_the_second_time(sloppy_place: Place, sloppy: Sloppy) -> None:
    """The first one may have been read too early."""
    ann, bob = linked(sloppy_place), linked(sloppy_place, "bob@example.com", 2)
    sloppy.scripted = lambda server, call: Reply(200, server.users[call.path[7:]]) if call.method == "PATCH" else None
    with pytest.raises(NotDone, match="title"):
        sloppy_place.change(ann, title="Clerk")
    assert sloppy_place.directory.kept == Kept()
    assert sloppy_place.change(bob, title="Clerk").user.profile.title is None
    assert sloppy_place.directory.kept == TITLE
    assert not sloppy_place.change(ann, title="Clerk").changed


@pytest.mark.parametrize("change", [{"user_name": "new@example.com"}, {"active": False}], ids=["name", "switch"])
def test_a_yes_that_brings_not_even_name_or_switch_says_nothing_of_the_rest(
    sloppy_place: Place, sloppy: Sloppy, change: dict[str, Any]
) -> None:
    user = linked(sloppy_place, nick_name="Annie")
    sloppy.scripted = lambda server, call: Reply(200, server.users[user.id]) if call.method == "PATCH" else None
    for _ in range(2):
        with pytest.raises(NotDone):
            sloppy_place.change(user, title="Clerk", nick_name="Ann", **change)
        sloppy_place.later(minutes=1)
        sloppy_place.directory.read_back(sloppy_place.now)
    assert notes(sloppy_place, sloppy) == {}


@pytest.mark.parametrize("change", [{"user_name": "new@example.com"}, {"active": False}], ids=["name", "switch"])
def test_what_access_hangs_on_is_never_left_out(sloppy_place: Place, sloppy: Sloppy, change: dict[str, Any]) -> None:
    users = [linked(sloppy_place, f"p{n}@example.com", n) for n in (1, 2, 3)]
    sloppy.scripted = lambda server, call: Reply(200, server.users[call.path[7:]]) if call.method == "PATCH" else None
    for user in users:
        with pytest.raises(NotDone):
            sloppy_place.change(user, **change)
    said = error(400, "active: unknown; userName: unknown; emails: unknown")
    sloppy.scripted = lambda _, call: said if call.writes else None
    with pytest.raises(RemoteRefused, match="unknown"):
        linked(sloppy_place, "p4@example.com", 4)
    assert sloppy_place.directory.kept == Kept()


def test_another_value_than_before_and_than_wanted_says_something_the_second_time(
    sloppy_place: Place, sloppy: Sloppy
) -> None:
    """Once it may have been somebody else who wrote it."""
    ann, bob = linked(sloppy_place), linked(sloppy_place, "bob@example.com", 2)

    def other(server: Sloppy, call: Call) -> None:
        if call.method == "PATCH":
            call.body["Operations"] = [{"op": "add", "path": "title", "value": "Somebody's"}]

    sloppy.scripted = other
    with pytest.raises(NotDone, match="title"):
        sloppy_place.change(ann, source=Source.SWEEP, title="Clerk")
    assert sloppy_place.directory.kept == Kept()
    sloppy_place.restart()
    assert sloppy_place.change(bob, source=Source.SWEEP, title="Clerk").user.profile.title == "Somebody's"
    assert sloppy_place.directory.kept == TITLE


def test_what_another_process_of_the_agent_has_written_since_says_nothing(sloppy_place: Place, sloppy: Sloppy) -> None:
    user = linked(sloppy_place, title="Clerk")

    def ended_and_written_elsewhere(server: Sloppy, call: Call) -> Reply | None:
        if call.method != "PATCH":
            return None
        server.apply(call)
        with sloppy_place.store.read() as conn:
            (intent,) = intents.open_intents(conn)
        sloppy_place.store.write(lambda conn: intents.end(conn, intent.id, intents.DONE, sloppy_place.now))
        server.users[user.id] |= {"title": "Clerk", "meta": {"version": 'W/"99"'}}
        return Reply(204)

    sloppy.scripted = ended_and_written_elsewhere
    with pytest.raises(DirectoryUnavailable, match="ended it meanwhile"):
        sloppy_place.change(user, title="Chief")
    assert notes(sloppy_place, sloppy) == {}


def test_one_that_is_written_alone_and_kept_is_not_doubted_any_more(sloppy_place: Place, sloppy: Sloppy) -> None:
    ann, bob = linked(sloppy_place), linked(sloppy_place, "bob@example.com", 2)
    early = [True, False, True]
    sloppy.scripted = lambda server, call: (
        Reply(200, server.users[call.path[7:]]) if call.method == "PATCH" and early.pop(0) else None
    )
    with pytest.raises(NotDone):
        sloppy_place.change(ann, source=Source.SWEEP, title="Clerk")
    assert sloppy_place.change(ann, source=Source.SWEEP, title="Clerk").user.profile.title == "Clerk"
    with pytest.raises(NotDone):
        sloppy_place.change(bob, source=Source.SWEEP, title="Clerk")
    assert sloppy_place.directory.kept == Kept()


def makes_display_name(user: dict[str, Any]) -> dict[str, Any]:
    name = user.get("name", {})
    return {**user, "displayName": f"{name.get('givenName')} {name.get('familyName')}"}


def test_what_the_remote_makes_out_of_others_is_not_repaired_for_ever(sloppy_place: Place, sloppy: Sloppy) -> None:
    sloppy.shape_user = makes_display_name
    user = linked(sloppy_place, display_name="Ann Lee")
    user = sloppy_place.change(user, source=Source.PUSH, name=Name(given_name="Ann", family_name="New")).user
    assert user.profile.display_name == "Ann New"
    for _ in range(2):
        # Each run is a process of its own.
        sloppy_place.restart()
        user = sloppy_place.change(user, source=Source.SWEEP, display_name="Ann (Sales)").user
    assert sum(call.method == "PATCH" for call in sloppy.calls) == 2
    (finding,) = sloppy_place.directory.findings
    assert (
        "displayName is neither sent nor compared, since OpsHelm takes it and shows a value of its own"
        in finding.detail
    )
    # That it happens to be what was written shows nothing, when it is asked again either.
    sloppy_place.now += DAY + timedelta(minutes=1)
    linked(sloppy_place, "bob@example.com", 2, display_name="Ann Lee")
    assert notes(sloppy_place, sloppy) == {"displayName": Loss.OWN}
    sloppy.shape_user = lambda shown: shown
    sloppy_place.change(user, source=Source.SWEEP, display_name="Ann (HR)")
    assert notes(sloppy_place, sloppy) == {}


def test_another_spelling_is_done_and_compared_loosely(sloppy_place: Place, sloppy: Sloppy) -> None:
    user = linked(sloppy_place)

    def shaped(shown: dict[str, Any]) -> dict[str, Any]:
        numbers = [{**one, "value": one["value"].replace(" ", "")} for one in shown.get("phoneNumbers", ())]
        return {**shown, "title": shown.get("title", "").upper().strip() or None, "phoneNumbers": numbers}

    sloppy.shape_user = shaped
    numbers = (MultiValue(value="+49 170 1234", type="work", primary=True),)
    changed = sloppy_place.change(user, source=Source.SWEEP, title=" Clerk ", phone_numbers=numbers).user
    assert changed.profile.title == "CLERK"
    assert notes(sloppy_place, sloppy) == {"title": Loss.RESPELLS, "phoneNumbers": Loss.RESPELLS}
    assert {finding.code.value for finding in sloppy_place.directory.findings} == {"not_kept"}


EXTENDED = {"enterprise": Enterprise(department="Sales"), "title": "Clerk"}


@pytest.mark.parametrize(
    "words",
    [f"1 validation error for User\n{ENTERPRISE_URN}\n  Extra inputs are not permitted", "Bad Request"],
    ids=["named", "unnamed"],
)
def test_a_refused_extension_is_left_out_and_the_person_gets_an_account(
    sloppy_place: Place, sloppy: Sloppy, words: str
) -> None:
    sloppy.scripted = lambda _, call: error(400, words) if ENTERPRISE_URN in call.body else None
    assert linked(sloppy_place, **EXTENDED).profile.title == "Clerk"
    linked(sloppy_place, "bob@example.com", 2, **EXTENDED)
    assert [ENTERPRISE_URN in body for body in sent(sloppy)] == [True, False, False]
    assert [ENTERPRISE_URN in body["schemas"] for body in sent(sloppy)] == [True, False, False]
    assert notes(sloppy_place, sloppy) == {ENTERPRISE_URN: Loss.REFUSES}
    (finding,) = sloppy_place.directory.findings
    assert words.splitlines()[0] in finding.detail
    assert 'department = ""' in finding.detail


def test_an_attribute_that_a_refusal_calls_unknown_is_left_out(sloppy_place: Place, sloppy: Sloppy) -> None:
    user = linked(sloppy_place)
    unknown = "Attribute 'nickName' is not supported"
    sloppy.scripted = lambda _, call: error(400, unknown) if "nickName" in str(call.body) else None
    changed = sloppy_place.change(user, title="Clerk", nick_name="Annie").user
    assert (changed.profile.title, changed.profile.nick_name) == ("Clerk", None)
    assert not sloppy_place.change(user, nick_name="Ann").changed


@pytest.mark.parametrize("words", ["title: at most 20 characters", "nobody may be called Clerk", ""])
def test_a_value_that_is_refused_says_nothing_of_its_attribute(sloppy_place: Place, sloppy: Sloppy, words: str) -> None:
    user = linked(sloppy_place)
    sloppy.scripted = lambda _, call: error(400, words) if call.writes else None
    with pytest.raises(RemoteRefused, match=words or "400"):
        sloppy_place.change(user, title="Clerk", nick_name="Annie")
    assert notes(sloppy_place, sloppy) == {}


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({"detail": [{"loc": ["body", "title"], "msg": "too long"}]}, "body.title: too long"),
        ({"title": ["Not a valid string."], "schemas": []}, "title: Not a valid string."),
        ({"errors": [{"field": "locale", "message": "unknown place"}]}, "locale: unknown place"),
        ({"message": "title is closed"}, "title is closed"),
    ],
)
def test_a_refusal_names_the_attribute_however_the_remote_says_it(
    sloppy_place: Place, sloppy: Sloppy, body: dict[str, Any], said: str
) -> None:
    user = linked(sloppy_place)
    sloppy.scripted = lambda _, call: Reply(400, body) if call.writes else None
    with pytest.raises(RemoteRefused) as caught:
        sloppy_place.change(user, title="Clerk")
    assert caught.value.detail == said


def listed(*schemas: dict[str, Any]) -> Reply:
    return Reply(200, {"totalResults": len(schemas), "Resources": list(schemas)})


def test_what_schemas_and_resource_types_leave_out_is_not_tried(sloppy_place: Place, sloppy: Sloppy) -> None:
    names = [{"name": name} for name in ("userName", "active", "nickName", "emails")]
    names.append({"name": "name", "subAttributes": [{"name": "givenName"}, {"name": "familyName"}]})
    names.append({"name": "title", "mutability": "readOnly"})
    answers = {
        "/Schemas": listed({"id": CORE, "attributes": names}),
        "/ResourceTypes": listed({"schema": CORE, "endpoint": "/Users"}),
    }
    sloppy.scripted = lambda _, call: answers.get(call.path)
    assert {"title", "locale", "name.middleName", ENTERPRISE_URN} <= sloppy_place.directory.kept.not_these
    assert not {"nickName", "emails", "name", "name.givenName"} & sloppy_place.directory.kept.not_these
    linked(sloppy_place, nick_name="Annie", **EXTENDED)
    (body,) = sent(sloppy)
    assert body.keys() == {"schemas", "userName", "active", "externalId", "name", "emails", "nickName"}


ALONE = {"id": CORE, "attributes": [{"name": "userName"}, {"name": "title"}]}


@pytest.mark.parametrize(
    "answer", [Reply(500), Reply(200, raw=b"[]"), Reply(200, {"Resources": [{"id": CORE}]}), Reply(200, ALONE)]
)
def test_schemas_that_say_nothing_leave_nothing_out(sloppy_place: Place, sloppy: Sloppy, answer: Reply) -> None:
    sloppy.scripted = lambda _, call: answer if call.path in ("/Schemas", "/ResourceTypes") else None
    assert sloppy_place.directory.kept == Kept()


@pytest.mark.parametrize("told", [False, True], ids=["after a day", "when told to"])
@pytest.mark.parametrize("keeps", [False, True], ids=["still not kept", "kept by now"])
def test_it_is_asked_again(sloppy_place: Place, sloppy: Sloppy, told: bool, keeps: bool) -> None:
    sloppy.scripted = drops("title")
    user = linked(sloppy_place, title="Clerk")
    if told:
        assert sloppy_place.store.write(lambda conn: unkept.ask_again(conn, [])) == ["title"]
        sloppy_place.restart()
    else:
        sloppy_place.now += DAY + timedelta(minutes=1)
    assert sloppy_place.directory.kept == Kept(TITLE.not_these, due=TITLE.not_these)
    if keeps:
        sloppy.scripted = None
    changed = sloppy_place.change(user, title="Clerk", nick_name="Annie").user
    assert changed.profile.title == ("Clerk" if keeps else None)
    assert sloppy_place.directory.kept == (Kept() if keeps else TITLE)


class Late(Silent):
    """Comparing takes a minute."""

    def __init__(self, world: World) -> None:
        self._world = world

    def step(self, what: str, done: int = 0, total: int | None = None) -> None:
        if what == "comparing":
            self._world.ahead += timedelta(minutes=1)


# What else servers do


def test_a_yes_without_a_body_is_read_back(sloppy_place: Place, sloppy: Sloppy) -> None:
    def silent(server: Sloppy, call: Call) -> Reply | None:
        return Reply(200) if call.writes and server.apply(call).status < 300 else None

    sloppy.scripted = silent
    user = linked(sloppy_place)
    assert sloppy_place.change(user, title="Clerk").user.profile.title == "Clerk"
    assert len(sloppy.users) == 1


def test_a_web_servers_own_etag_is_no_version(sloppy_place: Place, sloppy: Sloppy) -> None:
    """It is on every answer, and an If-Match with it would never match."""
    sloppy.config["etag"]["supported"] = False
    sloppy.shape_user = lambda user: {**user, "meta": {"resourceType": "User"}}

    def tagged(server: Sloppy, call: Call) -> Reply:
        if "if-match" in call.headers:
            return error(412)
        reply = server.apply(call)
        reply.headers["ETag"] = f'W/"{len(reply.content):x}"'
        return reply

    sloppy.scripted = tagged
    user = linked(sloppy_place)
    assert sloppy_place.change(user, title="Clerk").user.profile.title == "Clerk"


EMAIL = (MultiValue(value="other@example.com", type="work", primary=True),)


def test_a_remote_without_emails_is_asked_for_none(sloppy_place: Place, sloppy: Sloppy) -> None:
    """The second time: an e-mail may show once somebody has confirmed it. Names and the switch go on without."""
    sloppy.scripted = drops("emails")
    user = linked(sloppy_place)
    assert sloppy_place.directory.kept == Kept()
    for number, name in ((2, "bob@example.com"), (3, "eve@example.com")):
        linked(sloppy_place, name, number)
        assert sloppy_place.directory.kept == Kept(frozenset({"emails"}))
    user = sloppy_place.change(user, user_name="new@example.com").user
    assert not sloppy_place.change(user, emails=EMAIL).changed
    user = sloppy_place.change(user, active=False).user
    user = sloppy_place.change(user, active=True).user
    assert (user.user_name, user.active, user.profile.emails) == ("new@example.com", True, ())
    assert [("emails" in body, "emails" in str(body)) for body in sent(sloppy)] == [(True, True)] * 2 + [
        (False, False)
    ] * 4
    assert [finding.detail for finding in sloppy_place.directory.findings] == [
        "emails is neither sent nor compared, since OpsHelm takes it and doesn't keep it"
    ]


def test_an_email_that_stays_what_it_was_is_never_left_out(sloppy_place: Place, sloppy: Sloppy) -> None:
    """The old address would go on getting what is meant for the person."""
    users = [linked(sloppy_place, f"p{n}@example.com", n) for n in (1, 2, 3)]

    def answer(server: Sloppy, call: Call) -> None:
        if call.method == "PATCH":
            call.body["Operations"] = [one for one in call.body["Operations"] if one["path"] != "emails"]

    sloppy.scripted = answer
    for number, user in enumerate(users):
        with pytest.raises(NotDone, match="emails"):
            sloppy_place.change(user, source=Source.SWEEP, user_name=f"new{number}@example.com")
    assert sloppy_place.directory.kept == Kept()


def test_emails_that_are_refused_by_name_are_left_out_of_whom_the_remote_shows_none(
    sloppy_place: Place, sloppy: Sloppy
) -> None:
    ann, bob = linked(sloppy_place), linked(sloppy_place, "bob@example.com", 2)
    sloppy.scripted = lambda _, call: (
        error(400, "Unsupported attribute path 'emails'") if "'path': 'emails'" in str(call.body) else None
    )
    with pytest.raises(RemoteRefused, match="Unsupported"):
        sloppy_place.change(bob, user_name="new@example.com")
    assert sloppy_place.directory.kept == Kept()
    del sloppy.users[ann.id]["emails"]
    with pytest.raises(RemoteRefused, match="Unsupported"):
        sloppy_place.change(ann, user_name="ann2@example.com")
    assert sloppy_place.directory.kept == Kept(), "the other account shows one"
    del sloppy.users[bob.id]["emails"]
    sloppy_place.now += timedelta(hours=1)
    sloppy_place.directory.refresh(lambda *_: None)
    assert sloppy_place.change(ann, user_name="ann2@example.com").user.user_name == "ann2@example.com"
    assert sloppy_place.directory.kept == Kept(frozenset({"emails"}))
    sloppy.users[bob.id]["emails"] = [{"value": "bob@example.com", "primary": True}]
    sloppy_place.directory.refresh(lambda *_: None)
    sloppy_place.restart()
    assert sloppy_place.directory.kept == Kept(), "there is a place for them after all"


def test_emails_are_tried_again_with_one_person_of_a_run(tmp_path: Path, sloppy: Sloppy) -> None:
    with open_world(tmp_path, 12, remote=Remote(sloppy.url, KEY), guard=RAISED) as world:
        sloppy.add("owner@example.com")
        sloppy.scripted = drops("emails")
        world.reconcile(first_run=1_000_000)
        world.ahead += timedelta(hours=1)
        world.reconcile()
        assert world.reconcile().outcome == "in_step"
        world.ahead += DAY
        world.restart()
        for _ in range(2):
            sloppy.calls.clear()
            report = world.reconcile()
            assert report.plan is not None
            assert [set(action.changes) for action in report.plan.plan.actions] in ([{EMAIL_PATH}], [])
            assert sum("emails" in str(body) for body in sent(sloppy)) <= 1
        assert report.outcome == "in_step", "it is told for another day"
        world.remote.client.close()


def test_a_late_create_is_made_though_okta_says_more_than_the_remote_keeps(tmp_path: Path, sloppy: Sloppy) -> None:
    with open_world(tmp_path, 6, remote=Remote(sloppy.url, KEY), guard=RAISED, reconcile={"fresh": "1s"}) as world:
        sloppy.add("owner@example.com")
        sloppy.scripted = drops("title")
        world.first_run()
        assert world.directory.kept == TITLE
        world.ahead += timedelta(hours=1)
        del sloppy.users[world.account(world.people()[2]["login"]).id]
        report = world.reconcile(progress=Late(world))
        assert (report.outcome, report.counts["create"], report.counts["done"]) == ("applied", 1, 1)
        world.remote.client.close()


def test_an_attribute_with_a_part_that_the_remote_refuses_is_left_out_though_it_is_listed(
    sloppy_place: Place, sloppy: Sloppy
) -> None:
    schema = {"id": CORE, "attributes": [{"name": "userName"}, {"name": "emails"}, {"name": "addresses"}]}
    said = error(400, "Complex attribute 'addresses' does not declare subAttribute 'primary'", "invalidValue")

    def answer(_: Sloppy, call: Call) -> Reply | None:
        if call.path == "/Schemas":
            return Reply(200, {"Resources": [schema]})
        return said if "addresses" in call.body else None

    sloppy.scripted = answer
    assert "addresses" not in sloppy_place.directory.kept.not_these
    user = linked(sloppy_place, addresses=(Address(locality="Bern", primary=True),))
    assert (user.active, user.profile.addresses) == (True, ())
    assert notes(sloppy_place, sloppy)["addresses"] is Loss.REFUSES
