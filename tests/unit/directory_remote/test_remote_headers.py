"""Numbers that a remote sends as text: read where they are numbers, passed over where they only look like some."""

import pytest

from agent.directory.remote import provider
from agent.directory.remote.patience import retry_after
from agent.directory.remote.transport import RemoteAnswer


@pytest.mark.parametrize("text", [b"\xb2", "²".encode(), "٣".encode(), b"-1", b"1.5", b"soon", b" "])
def test_a_retry_after_that_is_no_number_is_none(text: bytes) -> None:
    assert retry_after({"retry-after": text.decode("latin-1")}) is None


def test_a_retry_after_is_seconds() -> None:
    assert retry_after({"retry-after": " 7 "}) == 7.0


@pytest.mark.parametrize("text", ["²", "٣", "9" * 5000])
def test_a_page_size_that_is_no_number_is_not_said(text: str) -> None:
    body = f'{{"filter": {{"supported": true, "maxResults": "{text}"}}}}'.encode()
    assert provider.read(RemoteAnswer(status=200, content=body)).max_results is None
