"""Renames that wait for each other."""

from hypothesis import given
from hypothesis import strategies as st

from agent.model.codes import ActionKind
from agent.model.plan import Action, Change, Names, ordered, resolve


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


def test_a_leaver_goes_before_whoever_is_to_get_the_account_and_waits_for_nobody() -> None:
    link = Action(n=0, kind=ActionKind.LINK, login="new@example.com", directory_id="a", okta_id="00uNEW")
    out = Action(
        n=0,
        kind=ActionKind.DEACTIVATE,
        login="new@example.com",
        directory_id="a",
        okta_id="00uOLD",
        changes={"active": Change(before=True, after=False)},
    )
    first, second = ordered([link, out], Names(), {})
    assert (first.kind, first.needs, second.kind, second.needs) == (ActionKind.DEACTIVATE, (), ActionKind.LINK, (1,))


def test_an_adopted_leaver_is_linked_before_the_account_ends() -> None:
    link = Action(n=0, kind=ActionKind.LINK, login="old@example.com", directory_id="a", okta_id="00uOLD")
    out = Action(n=0, kind=ActionKind.DEACTIVATE, login="old@example.com", directory_id="a", okta_id="00uOLD")
    first, second = ordered([out, link], Names(), {})
    assert (first.kind, second.kind, second.needs) == (ActionKind.LINK, ActionKind.DEACTIVATE, (1,))
