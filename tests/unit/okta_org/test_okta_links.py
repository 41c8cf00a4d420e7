import pytest

from agent.model.errors import OktaRejected
from agent.okta_org import calls
from agent.okta_org.calls import Trail

ORG = "https://example.okta.com"
FIRST = calls.app_users("0oa1", 500)


def address(after: str, host: str = ORG) -> str:
    return f"{host}/api/v1/apps/0oa1/users?after={after}&limit=500"


def test_the_last_page_has_no_next():
    assert Trail(ORG, FIRST).following(FIRST, ()) is None


def test_the_next_call_differs_by_its_cursor_alone():
    following = Trail(ORG, FIRST).following(FIRST, (address("c1"),))
    assert following is not None
    assert following.path == "/api/v1/apps/0oa1/users?after=c1&limit=500"
    assert (following.bucket, following.scope, following.decode) == (FIRST.bucket, FIRST.scope, FIRST.decode)


@pytest.mark.parametrize("same", ["https://EXAMPLE.okta.com", "https://example.okta.com:443"])
def test_the_same_host_written_otherwise_is_the_same_host(same):
    assert Trail(ORG, FIRST).following(FIRST, (address("c1", same),)) is not None


@pytest.mark.parametrize(
    "other",
    [
        "https://example.okta.com.evil.example",
        "http://example.okta.com",
        "https://example.okta.com:8443",
        "https://example.okta.com@evil.example",
        "//evil.example",
    ],
)
def test_a_next_page_on_another_host_is_refused(other):
    with pytest.raises(OktaRejected, match="another host"):
        Trail(ORG, FIRST).following(FIRST, (address("c1", other),))


def test_a_next_page_of_another_listing_is_refused():
    with pytest.raises(OktaRejected, match="another listing"):
        Trail(ORG, FIRST).following(FIRST, (f"{ORG}/api/v1/apps/0oa2/users?after=c1",))


def test_a_cursor_that_comes_again_is_an_error_however_late():
    trail, call = Trail(ORG, FIRST), FIRST
    for cursor in ("c1", "c2", "c3"):
        call = trail.following(call, (address(cursor),))
    with pytest.raises(OktaRejected, match="circle"):
        trail.following(call, (address("c1"),))


def test_two_different_next_pages_are_refused_and_one_named_twice_is_not():
    with pytest.raises(OktaRejected, match="several"):
        Trail(ORG, FIRST).following(FIRST, (address("c1"), address("c2")))
    assert Trail(ORG, FIRST).following(FIRST, (address("c1"), address("c1"))) is not None
