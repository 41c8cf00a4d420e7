"""A sweep looks at most people no closer than ``Projector.usual``: it must never say less than ``listed`` would."""

import json
from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from agent.model.desired import DesiredRow, DesiredRules, Wanted
from agent.model.mapping import DEFAULT, Kept, Mapping
from agent.model.usernames import NameRules
from agent.okta_org import calls
from agent.reconcile.sweeper import Projector

NOW = datetime(2026, 5, 4, 12, tzinfo=UTC)
MAPPINGS = [
    Mapping(),
    Mapping({"shoeSize": "title"}),
    Mapping({"email": 'emails[type eq "home"].value', "title": ""}),
    Mapping().within(Kept(frozenset({"title", "name"}))),
    Mapping().within(Kept(frozenset({"emails"}))),
]

value = st.sampled_from(
    ["", "Ann", "Ünal", "Lee", None, 3, 1.5, True, ["a"], {"b": 1}, "ann@example.com", "\x00", "\ud800"]
)
name = st.sampled_from(["ann@example.com", "Ann@Example.com", " ann@example.com", "ünal@example.com", "", None, 5])
profile = st.dictionaries(st.sampled_from([*DEFAULT, "email", "shoeSize"]), value, max_size=6)
okta_user = st.fixed_dictionaries(
    {"id": st.sampled_from(["00u1", "00u2", "00u3"]), "profile": st.one_of(profile, st.none(), st.just("x"))},
    optional={
        "externalId": st.sampled_from([None, "", "d1"]),
        "status": st.sampled_from(["ACTIVE", "PROVISIONED", "STAGED", "SUSPENDED", "FUTURE"]),
        "syncState": st.sampled_from(["SYNCHRONIZED", "SYNCING", "ERROR", None]),
        "lastUpdated": st.sampled_from(["2026-05-04T11:59:00.000Z", "2026-01-01T00:00:00.000Z", "never", None]),
        "credentials": st.one_of(st.none(), st.fixed_dictionaries({"userName": name})),
    },
)
#: As most orgs have it: all that is mapped is said, in text. Of a page with such people alone, all are projected at once.
text = st.sampled_from(["Ann", "Ünal\u2028\x85", None])
whole_user = st.fixed_dictionaries(
    {
        "id": st.sampled_from(["00u1", "00u2", "00u3"]),
        "status": st.sampled_from(["PROVISIONED", "PROVISIONED", "STAGED"]),
        "credentials": st.just({"userName": "ann@example.com"}),
        "profile": st.fixed_dictionaries(
            dict.fromkeys([*DEFAULT, "shoeSize"], text)
            | {
                "title": st.sampled_from(["Lead", None, None, ""]),
                "email": st.sampled_from(["ann@example.com", "Ann@example.com", "lee@example.com", None]),
            }
        ),
    }
)
status = st.sampled_from(["SUSPENDED", "STAGED", "ACTIVATING", "DEPROVISIONED", ""])


@given(
    page=st.one_of(st.lists(okta_user, max_size=4), st.lists(whole_user, max_size=4)),
    statuses=st.dictionaries(st.sampled_from(["00u1", "00u2"]), status),
    mapping=st.sampled_from(MAPPINGS),
    is_email=st.booleans(),
)
def test_who_is_usual_is_wanted_active_as_they_are_and_worth_no_report(page, statuses, mapping, is_email):
    projector = Projector(
        mapping=mapping, rules=DesiredRules(settle=timedelta(hours=1)), names=NameRules(is_email=is_email)
    )
    body = json.dumps(page).encode()
    whole = calls.app_users("0oaApp", 200).decode(body)
    read = calls.app_users("0oaApp", 200, mapping.profile).decode(body)
    for one, same, content in zip(read, whole, projector.usual(read, statuses), strict=True):
        want, desired, finding = projector.listed(same, statuses, NOW)
        assert projector.listed(one, statuses, NOW) == (want, desired, finding)
        assert mapping.has_email or want.email_key == ""
        if content is not None:
            assert (want.wanted, want.row, finding, desired.due) == (Wanted.ACTIVE, DesiredRow.LIVE, None, None)
            assert content == (want.okta_id, want.user_name_key, want.email_key, want.mapped)
        elif is_email and finding is None and want.row is DesiredRow.LIVE:
            # Whoever says nothing out of the way is found quickly.
            assert same.status in ("ACTIVE", "PROVISIONED")
            assert mapping.project_wanted(same).email not in (None, same.user_name) or one.id in statuses


def test_a_page_whose_profiles_fit_is_decoded_once():
    body = json.dumps([{"id": "00u1", "profile": {"title": "T"}}]).encode()
    mapping = Mapping()
    [one] = calls.app_users("0oaApp", 200, mapping.profile).decode(body)
    assert isinstance(one.profile, mapping.profile)
