"""Every refusal has a status, every soft fault is one that Okta tries again, and the base address is the settings' own."""

import pytest

from agent.model.codes import RefusalCode
from agent.model.errors import DirectoryUnavailable, NotFound, Refused, RemoteRefused, StoreUnavailable, VersionConflict
from agent.receiver.app import base_url
from agent.receiver.refusals import translate
from agent.scim.errors import invalid_path
from agent.settings import Settings


@pytest.mark.parametrize("code", RefusalCode)
def test_every_refusal_code_has_an_answer(code: RefusalCode) -> None:
    error = translate(Refused(code, "why"), "PUT")
    assert error is not None
    assert error.status in (400, 404, 409, 429)
    assert error.detail == "why"
    assert (error.retry_after is not None) == (error.status == 429)


def test_a_local_account_is_forbidden_to_delete_and_a_conflict_to_change() -> None:
    refused = Refused(RefusalCode.LOCAL_ACCOUNT, "local")
    assert [translate(refused, method).status for method in ("DELETE", "PUT", "PATCH")] == [403, 409, 409]  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("error", "status", "retry_after"),
    [
        (Refused(RefusalCode.PUSH_BURST, "x", retry_after=17), 429, 17),
        (Refused(RefusalCode.PUSH_BURST, "x"), 429, 300),
        (StoreUnavailable("x"), 429, 60),
        (MemoryError(), 429, 60),
        (DirectoryUnavailable("x"), 429, 60),
        (NotFound("x"), 404, None),
        (VersionConflict("x"), 412, None),
    ],
)
def test_faults(error: Exception, status: int, retry_after: int | None) -> None:
    answer = translate(error, "PUT")
    assert answer is not None
    assert (answer.status, answer.retry_after) == (status, retry_after)


def test_scims_own_rules_are_400_with_their_type() -> None:
    answer = translate(invalid_path("Users have no attribute x."), "PATCH")
    assert answer is not None
    assert (answer.status, answer.scim_type, answer.detail) == (400, "invalidPath", "Users have no attribute x.")


def test_a_remotes_no_is_handed_on_as_it_is() -> None:
    answer = translate(RemoteRefused(409, "the name is taken", "uniqueness"), "POST")
    assert answer is not None
    assert (answer.status, answer.scim_type, answer.detail) == (409, "uniqueness", "the name is taken")


def test_what_nobody_foresaw_is_not_translated() -> None:
    assert translate(KeyError("x"), "PUT") is None


@pytest.mark.parametrize(
    ("server", "base"),
    [
        ({}, "http://localhost:8765/scim/v2"),
        ({"host": "127.0.0.1", "port": 1}, "http://127.0.0.1:1/scim/v2"),
        ({"host": "::1"}, "http://[::1]:8765/scim/v2"),
        ({"public_url": "https://scim.example.com"}, "https://scim.example.com/scim/v2"),
        ({"public_url": "https://scim.example.com/scim/v2/"}, "https://scim.example.com/scim/v2"),
        ({"public_url": "https://example.com/opshelm/"}, "https://example.com/opshelm/scim/v2"),
    ],
)
def test_the_base_address(server: dict[str, object], base: str) -> None:
    assert base_url(Settings(server=server)) == base
