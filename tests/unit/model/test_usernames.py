"""userNames: look-alikes and hidden signs are refused; what an inactive account may be called is not OpsHelm's business."""

import pytest

from agent.model.codes import RefusalCode
from agent.model.usernames import NameRules, problem

STRICT = NameRules()
ANY_FORM = NameRules(is_email=False)
ANY = NameRules(is_email=False, ascii_only=False)


def code(name: str, email: str | None = None, rules: NameRules = STRICT, *, active: bool = True) -> str | None:
    found = problem(name, name if email is None else email, rules, active=active)
    return None if found is None else found[0].value


@pytest.mark.parametrize(
    "name", ["a@example.com", "A.b+c@EXAMPLE.com", "test.user@okta.local", "root@localhost", "o'brien@example.com"]
)
def test_plain_addresses_pass(name: str) -> None:
    assert code(name) is None


@pytest.mark.parametrize(
    "name",
    [
        "ali\u200bce@example.com",
        "alice@example.com\r\nX-Evil: 1",
        "\u202ealice@example.com",
        "al ice@example.com",
        " alice@example.com",
        "alice\u00a0@example.com",
        "alice\x7f@example.com",
        "\ue000@example.com",
        "a" * 244 + "@example.com",
    ],
)
def test_hidden_signs_and_too_long_names_are_refused_even_of_the_inactive(name: str) -> None:
    for active in (True, False):
        assert code(name, rules=ANY, active=active) == RefusalCode.INVALID_USER_NAME.value


@pytest.mark.parametrize("name", ["", "   "])
def test_a_blank_name_is_no_name(name: str) -> None:
    assert code(name, rules=ANY, active=False) == RefusalCode.BLANK.value


@pytest.mark.parametrize("name", ["\u0430lice@example.com", "alice\uff20example.com", "jos\u00e9@example.com"])
def test_look_alikes_are_refused_unless_asked_for(name: str) -> None:
    assert code(name, rules=ANY_FORM) == RefusalCode.INVALID_USER_NAME.value
    assert code(name, rules=ANY) is None
    assert code(name, rules=ANY_FORM, active=False) is None


@pytest.mark.parametrize(
    "name", ["alice", "alice@", "@example.com", "a@b@example.com", "a@example..com", "a@.com", "<a@example.com>"]
)
def test_a_name_that_is_no_address_is_refused_where_opshelm_s_rule_holds(name: str) -> None:
    assert code(name) == RefusalCode.INVALID_USER_NAME.value
    assert code(name, rules=ANY_FORM) is None
    assert code(f"283405f5{name}", active=False) is None


@pytest.mark.parametrize(
    ("email", "wanted"),
    [("b@example.com", "email_not_user_name"), ("", "email_not_user_name"), ("A@EXAMPLE.com", None)],
)
def test_the_primary_email_must_equal_the_name_by_key(email: str, wanted: str | None) -> None:
    assert code("a@example.com", email) == wanted
    assert code("a@example.com", email, rules=ANY_FORM) is None
    assert code("a@example.com", email, active=False) is None
