"""Renames that wait for each other."""

from hypothesis import given
from hypothesis import strategies as st

from agent.model.order import resolve


def test_chains_start_at_their_free_end() -> None:
    names = resolve({"a": "b", "b": "c", "c": None})
    assert names.depth == {"c": 0, "b": 1, "a": 2}
    assert names.cycles == ()


def test_a_ring_is_found_once_and_who_waits_for_it_is_blocked() -> None:
    names = resolve({"x": "a", "a": "b", "b": "a"})
    assert names.cycles == (("a", "b"),)
    assert names.blocked("x")
    assert not names.blocked("a")
    assert not names.frees("a")


def test_who_waits_for_somebody_that_keeps_the_name_is_blocked_with_all_behind() -> None:
    names = resolve({"a": "keeper", "b": "a"})
    assert names.blocked("a")
    assert names.blocked("b")


@given(st.permutations(list(range(12))), st.integers(0, 12))
def test_any_set_of_renames_can_be_done_in_the_given_order(targets: list[int], free: int) -> None:
    """Everybody i gets the name of targets[i]; names from ``free`` on belong to nobody."""
    waits = {str(i): (str(t) if t < free else None) for i, t in enumerate(targets) if t != i and i < free}
    names = resolve({a: (h if h in waits or h is None else "keeper") for a, h in waits.items()})
    taken = {str(i) for i in range(free)}
    for account in sorted(names.depth, key=names.depth.__getitem__):
        wanted = waits[account]
        assert wanted not in taken
        taken.discard(account)
    for cycle in names.cycles:
        assert {waits[a] for a in cycle} == set(cycle)
    assert {a for a in waits if names.blocked(a)} | set(names.depth) | set(names.in_cycles) == set(waits)
