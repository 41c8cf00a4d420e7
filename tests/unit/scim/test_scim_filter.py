"""Filters: the fast path reads what scim2-models reads; nothing that can't be read becomes everybody."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.scim import filter as filters
from agent.scim import library
from agent.scim.errors import ScimRefused
from agent.scim.terms import Compare, Not, Select


@given(
    st.sampled_from(["userName", "USERNAME", "externalId", "id", "Id"]),
    st.sampled_from(["eq", "EQ", "Eq"]),
    st.text(st.characters(exclude_categories=("Cs", "Cc"), exclude_characters='"\\')),
    st.sampled_from(["", " ", "  "]),
)
def test_the_fast_path_reads_what_scim2_models_reads(name: str, op: str, value: str, space: str) -> None:
    text = f'{space}{name} {op} "{value}"{space}'
    assert filters.parse(text) == library.parse_filter(text)


@given(st.text(st.sampled_from('userNameid "eq\\()[]. ano'), max_size=40))
def test_whatever_the_fast_path_takes_scim2_models_takes_alike(text: str) -> None:
    try:
        found = filters.parse(text)
    except ScimRefused:
        with pytest.raises(ScimRefused):
            library.parse_filter(text)
    else:
        assert found == library.parse_filter(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "   ",
        'userName eq "abc',
        "userName eq abc",
        "userName eq /.*/",
        'userName eq "a" userName eq "b"',
        'userName === "a"',
        "userName",
        "userName eq 5",
        'favouriteColour eq "red"',
        'password sw "a"',
        "password pr",
        'groups.value eq "x"',
        'roles eq "owner"',
        "schemas pr",
        'meta.version eq "x"',
        'name eq "x"',
        'addresses eq "x"',
        'name[givenName eq "x"]',
        'emails[type eq "work" and emails[value pr]]',
        'emails[favourite eq "x"]',
        'emails.favourite eq "x"',
        "active gt true",
        'active co "t"',
        'meta.created gt "yesterday"',
        'meta.created gt "2026-01-01T00:00:00"',
        'meta.created co "2026"',
        "userName gt null",
        'id eq "\\ud800"',
        'id eq "\\u0000"',
        'urn:example:User:title eq "x"',
        "(" * 21 + "title pr" + ")" * 21,
        " or ".join(['userName eq "aaaaaaaaaaaa"'] * 100),
        'userName eq "' + "a" * 3000 + '"',
    ],
    ids=lambda text: text[:40],
)
def test_a_filter_that_cannot_be_read_is_refused(text: str) -> None:
    with pytest.raises(ScimRefused) as caught:
        filters.parse(text)
    assert caught.value.scim_type == "invalidFilter"


def test_an_escaped_quote_stays_inside_the_value() -> None:
    found = filters.parse('userName eq "x\\" or userName pr or userName eq \\""')
    assert isinstance(found, Compare)
    assert found.value == 'x" or userName pr or userName eq "'


def test_parentheses_inside_a_value_are_no_nesting() -> None:
    assert isinstance(filters.parse('title eq "' + "(" * 50 + '"'), Compare)


def test_a_full_urn_and_any_case_name_the_same_attribute() -> None:
    plain = filters.parse('name.familyName sw "x"')
    assert filters.parse('urn:ietf:params:scim:schemas:core:2.0:User:NAME.familyname SW "x"') == plain


def test_a_comparison_with_a_list_is_one_with_its_values() -> None:
    assert filters.parse('emails co "x"') == filters.parse('emails.value co "x"')
    assert isinstance(filters.parse('emails[type eq "work"].value eq "x"'), Select)
    assert isinstance(filters.parse("not (emails pr)"), Not)
