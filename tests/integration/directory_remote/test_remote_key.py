"""A key that the remote refuses: whoever pushed is told that the agent's key is the matter, not the remote's being away."""

import pytest

from agent.model.errors import KeyRefused
from agent.receiver.refusals import translate
from support.place import Place, okta_id
from support.sloppy import KEY, Sloppy, error


def test_a_push_is_told_that_the_agents_own_key_is_refused(sloppy_place: Place, sloppy: Sloppy) -> None:
    user = sloppy_place.post("ann@example.com", okta=okta_id(1)).user
    for refuses in (lambda *_: error(401, KEY), lambda _, call: error(401, KEY) if call.writes else None):
        sloppy.scripted = refuses
        with pytest.raises(KeyRefused) as caught:
            sloppy_place.change(user, title="Clerk")
        told = translate(caught.value, "PATCH")
        assert told is not None
        assert (told.status, told.retry_after) == (429, 60)
        assert "refuses the key of its own agent (401)" in told.detail
        assert "can't be reached" not in told.detail
        assert KEY not in told.detail
    assert sloppy_place.verbs("applied") == ["create"]
