import json

import pytest

from agent.model.errors import OktaDenied, OktaNotFound, OktaRejected, OktaThrottled, OktaUnreachable
from agent.okta_org import calls
from agent.okta_org.calls import OktaAnswer
from agent.okta_org.failures import EXPLAINED, failure

READ = calls.app_users("0oa1", 500)
WRITE = calls.create_user({}, activate=False, groups=())


def answer(status: int, code: str = "", summary: str = "", *causes: str, **headers: str) -> OktaAnswer:
    body = {"errorCode": code, "errorSummary": summary, "errorCauses": [{"errorSummary": c} for c in causes]}
    return OktaAnswer(
        status=status,
        body=json.dumps(body).encode() if code else b"",
        headers={name: [value] for name, value in headers.items()},
    )


@pytest.mark.parametrize(
    ("status", "code", "error"),
    [
        (400, "E0000001", OktaRejected),
        (400, "E0000029", OktaRejected),
        (401, "E0000011", OktaDenied),
        (401, "", OktaDenied),
        (403, "E0000006", OktaDenied),
        (403, "", OktaDenied),
        (403, "E0000046", OktaRejected),
        (403, "E0000075", OktaRejected),
        (403, "E0000023", OktaRejected),
        (404, "E0000007", OktaNotFound),
        (404, "E0000008", OktaRejected),
        (404, "", OktaUnreachable),
        (405, "E0000022", OktaRejected),
        (409, "E0000112", OktaRejected),
        (410, "", OktaRejected),
        (429, "E0000047", OktaThrottled),
        (500, "E0000009", OktaUnreachable),
        (502, "", OktaUnreachable),
        (503, "E0000010", OktaUnreachable),
        (504, "", OktaUnreachable),
        (302, "", OktaRejected),
        (304, "", OktaRejected),
    ],
)
def test_each_status_is_one_error(status, code, error):
    found = failure(READ, answer(status, code, "what Okta says"))
    assert type(found) is error
    assert (found.status, found.okta_code) == (status, code)


def test_a_404_of_a_gateway_is_not_okta_saying_that_nobody_is_there():
    gateway = OktaAnswer(status=404, body=b"<html>not found</html>")
    assert isinstance(failure(READ, gateway), OktaUnreachable)


def test_a_refusal_for_rights_names_the_scope():
    assert "okta.apps.read" in failure(READ, answer(403, "E0000006", "no")).detail
    assert "okta.users.manage" in failure(WRITE, answer(403, "E0000006", "no")).detail


@pytest.mark.parametrize("code", sorted(EXPLAINED))
def test_each_known_code_comes_with_what_to_do_and_with_oktas_words(code):
    detail = failure(WRITE, answer(400, code, "Okta's words")).detail
    assert EXPLAINED[code] in detail
    assert f"{code}: Okta's words" in detail


def test_a_login_that_exists_is_told_from_other_invalid_values():
    taken = "login: An object with this field already exists in the current organization"
    assert "has a user with this login" in failure(WRITE, answer(400, "E0000001", "failed: login", taken)).detail
    assert "has a user with this login" not in failure(WRITE, answer(400, "E0000001", "failed: x")).detail


@pytest.mark.parametrize("status", [500, 502, 503, 504])
def test_a_write_that_met_a_5xx_may_have_been_done_and_a_read_changes_nothing(status):
    assert failure(WRITE, answer(status)).maybe_done
    assert not failure(READ, answer(status)).maybe_done


def test_a_write_refused_by_a_read_only_org_was_not_done():
    assert not failure(WRITE, answer(503, "E0000010", "read only")).maybe_done


def test_a_redirect_names_the_host_alone():
    found = failure(READ, answer(302, location="https://evil.example/collect?token=abc"))
    assert "evil.example" in found.detail
    assert "collect" not in found.detail


@pytest.mark.parametrize("body", [b"[]", b'{"errorCode":3}', b'{"errorCode":"E1","errorCauses":"x"}', b"\xff", b"null"])
def test_an_error_body_of_another_shape_is_still_an_error(body):
    assert isinstance(failure(READ, OktaAnswer(status=400, body=body)), OktaRejected)


def test_long_words_of_okta_are_cut():
    assert len(failure(READ, answer(400, "E0000001", "x" * 5000)).detail) < 600
