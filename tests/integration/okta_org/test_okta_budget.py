"""The rate budget end to end, against a server that counts; time is virtual."""

import math
from email.utils import formatdate

import pytest

from agent.model.errors import OktaThrottled
from support.scripted import APP, Say, links, okta_error

USERS = f"/api/v1/apps/{APP}/users"
START = 1_800_000_000


class Metered:
    """A listing of many pages under Okta's limit; refuses what is over it."""

    def __init__(self, server, waits, *, limit: int, pages: int, ahead: int = 0) -> None:
        self.server, self.waits, self.limit, self.pages, self.ahead = server, waits, limit, pages, ahead
        self.ends, self.used, self.refused = -math.inf, 0, 0
        server.rule(USERS, self.answer)

    def answer(self, asked) -> Say:
        now = START + self.ahead + sum(self.waits)
        if now >= self.ends:
            self.ends, self.used = math.floor(now) + 60, 0
        self.used += 1
        headers = [
            ("Date", formatdate(now, usegmt=True)),
            ("X-Rate-Limit-Limit", str(self.limit)),
            ("X-Rate-Limit-Remaining", str(max(0, self.limit - self.used))),
            ("X-Rate-Limit-Reset", str(self.ends)),
        ]
        if self.used > self.limit:
            self.refused += 1
            return Say(429, okta_error("E0000047"), headers=headers)
        number = int(asked.target.partition("after=")[2] or 0) + 1
        following = [("next", f"{self.server.url}{USERS}?after={number}")] if number < self.pages else []
        return Say(body=[{"id": f"00u{number}"}], headers=[*headers, *links(*following)])


def read(org) -> int:
    return sum(len(page) for page in org.app_user_pages(1))


@pytest.mark.parametrize("limit", [10, 50])
def test_a_long_listing_slows_down_before_the_429(server, connect, waits, limit):
    okta = Metered(server, waits, limit=limit, pages=120)
    org = connect()
    told = []
    with org.run(lambda seconds, bucket: told.append((seconds, bucket))):
        assert read(org) == 120
    assert okta.refused == 0
    assert {bucket for _, bucket in told} == {"Okta's limit on apps"}
    assert sum(seconds for seconds, _ in told) == sum(waits) > 60
    assert org.budget()["apps"].waited == sum(waits)
    assert org.budget()["apps"].limit == limit


def test_it_runs_into_the_429_only_where_another_client_used_the_budget_up(server, connect, waits):
    okta = Metered(server, waits, limit=50, pages=3)
    org = connect()
    pages = org.app_user_pages(1)
    next(pages)
    okta.used = 50
    assert len(list(pages)) == 2
    assert okta.refused == 1
    assert org.budget()["apps"].refused == 1
    assert 60 < sum(waits) < 63


def test_the_wait_of_one_run_is_bounded_and_the_run_ends_incomplete(server, connect, waits):
    Metered(server, waits, limit=10, pages=120)
    org = connect(max_wait="150s")
    with pytest.raises(OktaThrottled, match=r"okta\.max_wait is 150 s"):
        read(org)
    assert sum(waits) <= 150


def test_all_calls_of_a_run_share_its_patience_and_the_next_run_has_its_own(server, connect, waits):
    Metered(server, waits, limit=10, pages=15)
    org = connect(max_wait="130s")
    with org.run() as allowance:
        assert read(org) == 15
        assert allowance.used == sum(waits) > 50
        with pytest.raises(OktaThrottled):
            read(org)
    assert read(org) == 15


def test_an_okta_clock_that_runs_ahead_is_known_and_costs_no_longer_wait(server, connect, waits):
    Metered(server, waits, limit=10, pages=12, ahead=86_400)
    org = connect()
    assert read(org) == 12
    assert sum(waits) < 63
    assert org.clock_skew() is not None


def test_limit_zero_means_too_many_at_once_and_costs_a_short_pause(server, org, waits):
    headers = [("X-Rate-Limit-Limit", "0"), ("X-Rate-Limit-Remaining", "0"), ("X-Rate-Limit-Reset", "4000000000")]
    server.say(USERS, Say(429, okta_error("E0000047"), headers=headers), Say(body=[]))
    assert read(org) == 0
    assert waits == [1.0]
