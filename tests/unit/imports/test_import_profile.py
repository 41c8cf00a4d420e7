"""What Okta is told of somebody whom an import creates."""

from datetime import UTC, datetime
from typing import Any

import pytest

from agent.imports.planner import names, okta_profile
from agent.model.users import Address, DirectoryUser, Enterprise, MultiValue, Name, Profile

NOW = datetime(2026, 11, 24, tzinfo=UTC)


def account(login: str = "ann.lee@example.com", **profile: Any) -> DirectoryUser:
    return DirectoryUser(id="1", user_name=login, profile=Profile(**profile), active=True, created=NOW, updated=NOW)


def test_okta_gets_what_it_needs_and_what_it_maps() -> None:
    user = account(
        name=Name(given_name="Ann", family_name="Lee", middle_name="M."),
        emails=(MultiValue(value="ann.lee@example.com", primary=True),),
        title="Captain",
        addresses=(Address(locality="Turku", country="FI", primary=True),),
        enterprise=Enterprise(department="Deck"),
    )
    assert okta_profile(user) == {
        "login": "ann.lee@example.com",
        "email": "ann.lee@example.com",
        "firstName": "Ann",
        "lastName": "Lee",
        "middleName": "M.",
        "title": "Captain",
        "city": "Turku",
        "department": "Deck",
    }


def test_what_okta_checks_for_a_form_of_its_own_is_left_out() -> None:
    user = account(locale="en-US", preferred_language="en", timezone="CET", profile_url="x")
    assert set(okta_profile(user)) == {"login", "email", "firstName", "lastName"}


def test_what_is_not_mapped_is_not_sent() -> None:
    user = account(title="Captain")
    assert "title" in okta_profile(user)
    assert "title" not in okta_profile(user, {"title": ""})


@pytest.mark.parametrize(
    ("login", "profile", "expected"),
    [
        ("ann@example.com", {"name": Name(given_name="Ann", family_name="Lee")}, ("Ann", "Lee")),
        ("ann@example.com", {"display_name": "Ann van der Lee"}, ("Ann", "van der Lee")),
        ("ann@example.com", {"name": Name(given_name="Anna"), "display_name": "Ann Lee"}, ("Anna", "Lee")),
        ("ann.lee@example.com", {}, ("ann", "lee")),
        ("ann_m_lee@example.com", {}, ("ann", "m lee")),
        ("ann@example.com", {}, ("ann", "ann")),
        ("..@example.com", {}, ("..@example.com", "..@example.com")),
    ],
)
def test_both_names_are_there_whatever_opshelm_has(
    login: str, profile: dict[str, Any], expected: tuple[str, str]
) -> None:
    assert names(account(login, **profile)) == expected
