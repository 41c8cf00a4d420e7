"""Which of several phone numbers or addresses is the primary one, and that clearing it takes no other."""

import pytest

from agent.model.paths import parse
from agent.model.users import MultiValue, Profile

PHONE = parse("phoneNumbers[primary eq true].value")
FAX = MultiValue(value="+1 555", type="fax")


def phones(*values: MultiValue) -> Profile:
    return Profile(phone_numbers=values)


def test_a_fax_number_is_neither_read_cleared_nor_overwritten_as_the_primary_phone() -> None:
    only_fax = phones(FAX)
    assert PHONE.get(only_fax) is None
    assert PHONE.set(only_fax, None) == only_fax
    both = PHONE.set(only_fax, "+1 777")
    assert both.phone_numbers == (FAX, MultiValue(value="+1 777", type="work", primary=True))
    assert PHONE.get(both) == "+1 777"


@pytest.mark.parametrize("kind", ["fax", "mobile", "home", None])
def test_clearing_the_primary_phone_takes_no_other_number_now_or_later(kind: str | None) -> None:
    other = MultiValue(value="+1 555", type=kind)
    cleared = PHONE.set(phones(MultiValue(value="+1 777", type="work", primary=True), other), None)
    assert [(v.value, v.type) for v in cleared.phone_numbers] == [("+1 555", kind)]
    # The next comparison must find nothing left to clear.
    assert PHONE.get(cleared) is None
    assert PHONE.set(cleared, None) == cleared


def test_a_lone_number_that_nothing_is_said_about_is_the_primary_one() -> None:
    lone = phones(MultiValue(value="+1 777", type="work"))
    assert PHONE.get(lone) == "+1 777"
    assert PHONE.set(lone, None).phone_numbers == ()
    assert PHONE.get(phones(MultiValue(value="+1 777", primary=False))) is None
