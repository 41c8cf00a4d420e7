"""The filters that a batch read asks with."""

from hypothesis import given, settings
from hypothesis import strategies as st

from agent.directory.remote import batch_read
from agent.scim import filter as scim_filter
from agent.scim.terms import Compare, Either

IDS = st.lists(st.text(min_size=1, max_size=255), unique=True, max_size=60)


@settings(max_examples=25)
@given(IDS)
def test_each_account_is_asked_for_once_and_no_filter_is_too_long_for_more_than_one(ids: list[str]) -> None:
    filters = list(batch_read.filters(ids))
    assert [user_id for some in filters for user_id in some] == ids
    for some in filters:
        assert len(some) == 1 or len(" or ".join(some.values()).encode(errors="replace")) <= batch_read.LONGEST


@settings(deadline=None, max_examples=25)
@given(st.lists(st.from_regex(r"[A-Za-z0-9\"\\\\ äß()-]{1,36}", fullmatch=True), unique=True, min_size=2, max_size=32))
def test_this_agents_own_receiver_reads_the_same_ids_out_of_it(ids: list[str]) -> None:
    for some in batch_read.filters(ids):
        term = scim_filter.parse(" or ".join(some.values()))
        terms = term.terms if isinstance(term, Either) else (term,)
        assert [each.value for each in terms if isinstance(each, Compare)] == list(some)
