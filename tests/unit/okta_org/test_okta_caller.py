"""The table in the caller's docstring, row by row, on a wire made of plain values."""

import asyncio
from dataclasses import dataclass, field

import pytest

from agent.model.errors import (
    ConfigError,
    OktaDenied,
    OktaError,
    OktaNotFound,
    OktaRejected,
    OktaThrottled,
    OktaUnreachable,
)
from agent.okta_org import calls
from agent.okta_org.caller import CONCURRENT, OktaCaller, Untrusted
from agent.okta_org.calls import OktaAnswer, Reply
from agent.okta_org.limits import CallAllowance, RateLimits
from agent.settings import OktaSettings

READ = calls.app("0oa1")
WRITE = calls.create_user({"login": "p@example.com"}, activate=False, groups=())
GOOD = OktaAnswer(status=200, body=b'{"id":"0oa1"}')
REVOKED = OktaAnswer(status=401, body=b'{"errorCode":"E0000011","errorSummary":"Invalid token provided"}')


@dataclass
class Wire:
    """Answers in order; an error in the list is raised."""

    answers: list
    oauth: bool = False
    generation: int = 0
    sent: int = 0
    forgotten: int = 0
    adopted: list = field(default_factory=list)
    known: object = None
    most: int = 0
    now: int = 0

    async def send(self, call):
        self.sent += 1
        self.now += 1
        self.most = max(self.most, self.now)
        await asyncio.sleep(0)
        self.now -= 1
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer

    def forget_token(self) -> bool:
        self.forgotten += self.oauth
        self.generation += self.oauth
        return self.oauth

    async def adopt(self, settings) -> bool:
        if settings == self.known:
            return False
        self.adopted.append(settings)
        self.known = settings
        self.generation += 1
        return True


class Waits(list):
    async def sleep(self, seconds: float) -> None:
        self.append(seconds)
        await asyncio.sleep(0)


def fetch(wire, call=READ, *, retries=5, max_wait=900.0, credentials=None, waits=None, times=1):
    waits = Waits() if waits is None else waits

    async def go():
        now = lambda: sum(waits)  # noqa: E731 - time passes by waiting alone
        limits = RateLimits(0.8, clock=now, wall=now, sleep=waits.sleep, jitter=lambda: 0.5)
        caller = OktaCaller(wire, limits, max_retries=retries, credentials=credentials)
        allowance = CallAllowance(max_wait)
        found = await asyncio.gather(*(caller.fetch(call, allowance) for _ in range(times)), return_exceptions=True)
        return found[0] if times == 1 else found

    outcome = asyncio.run(go())
    if isinstance(outcome, BaseException):
        raise outcome
    return outcome


SOFT = [
    OktaAnswer(status=500),
    OktaAnswer(status=502, body=b"<html>"),
    OktaAnswer(status=503),
    OktaAnswer(status=504),
    OktaAnswer(status=200, body=b""),
    OktaAnswer(status=200, body=b'{"id":"0oa'),
    OktaAnswer(status=200, body=b"<html>"),
    OktaAnswer(status=404, body=b"<html>"),
    OktaUnreachable("no answer"),
]


@pytest.mark.parametrize("soft", SOFT, ids=repr)
def test_a_read_is_tried_again_after_what_may_pass(soft):
    wire = Wire([soft, soft, GOOD])
    waits = Waits()
    assert fetch(wire, waits=waits).value.id == "0oa1"
    assert wire.sent == 3
    assert waits == [1.0, 2.0]


@pytest.mark.parametrize("soft", SOFT, ids=repr)
def test_a_read_gives_up_after_max_retries_and_says_how_often_it_tried(soft):
    wire = Wire([soft])
    with pytest.raises(OktaUnreachable, match=r"Tried 4 times\.") as caught:
        fetch(wire, retries=3)
    assert wire.sent == 4
    assert not caught.value.maybe_done


def test_without_retries_the_first_failure_is_the_last():
    wire = Wire([OktaAnswer(status=500)])
    with pytest.raises(OktaUnreachable):
        fetch(wire, retries=0)
    assert wire.sent == 1


def test_back_off_doubles_and_is_capped():
    waits = Waits()
    with pytest.raises(OktaUnreachable):
        fetch(Wire([OktaAnswer(status=500)]), retries=9, waits=waits)
    assert waits == [1, 2, 4, 8, 16, 32, 60, 60, 60]


def test_a_503_that_names_a_time_is_believed():
    waits = Waits()
    fetch(Wire([OktaAnswer(status=503, headers={"retry-after": ["7"]}), GOOD]), waits=waits)
    assert waits == [7.0]


def test_a_run_out_of_patience_ends_with_what_went_wrong():
    wire = Wire([OktaAnswer(status=500)])
    with pytest.raises(OktaUnreachable):
        fetch(wire, retries=20, max_wait=10)
    assert wire.sent == 4  # 1 + 2 + 4 s; another 8 would be too many


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (OktaAnswer(status=400), OktaRejected),
        (OktaAnswer(status=403), OktaDenied),
        (OktaAnswer(status=404, body=b'{"errorCode":"E0000007"}'), OktaNotFound),
        (OktaAnswer(status=302), OktaRejected),
        (OktaAnswer(status=410), OktaRejected),
        (Untrusted("self-signed"), OktaUnreachable),
    ],
)
def test_what_does_not_pass_is_not_tried_again(answer, error):
    wire = Wire([answer])
    with pytest.raises(error):
        fetch(wire)
    assert wire.sent == 1


@pytest.mark.parametrize("call", [READ, WRITE], ids=["read", "write"])
@pytest.mark.parametrize("times", [1, 3])
def test_a_429_is_waited_out_by_reads_and_writes(call, times):
    refused = OktaAnswer(status=429, headers={"retry-after": ["20"]})
    wire = Wire([refused] * times + [OktaAnswer(status=200, body=b'{"id":"0oa1"}')])
    waits = Waits()
    fetch(wire, call, waits=waits)
    assert wire.sent == times + 1
    assert waits == [20.5] * times


def test_a_429_without_any_header_is_backed_off_from():
    waits = Waits()
    fetch(Wire([OktaAnswer(status=429), OktaAnswer(status=429), GOOD]), waits=waits)
    assert waits == [1.0, 2.0]


@pytest.mark.parametrize("call", [READ, WRITE], ids=["read", "write"])
def test_a_429_for_ever_ends_as_throttled(call):
    wire = Wire([OktaAnswer(status=429, headers={"retry-after": ["1"]})])
    with pytest.raises(OktaThrottled):
        fetch(wire, call)
    assert wire.sent == 6


@pytest.mark.parametrize(
    ("lost", "maybe_done"),
    [
        (OktaAnswer(status=500), True),
        (OktaAnswer(status=502), True),
        (OktaAnswer(status=503), True),
        (OktaAnswer(status=504), True),
        (OktaAnswer(status=503, body=b'{"errorCode":"E0000010"}'), False),
        (OktaAnswer(status=200, body=b""), True),
        (OktaAnswer(status=201, body=b'{"id":'), True),
        (OktaUnreachable("cut", maybe_done=True), True),
        (OktaUnreachable("connection refused"), False),
    ],
    ids=repr,
)
def test_a_write_whose_answer_was_lost_is_never_sent_again(lost, maybe_done):
    wire = Wire([lost])
    with pytest.raises(OktaUnreachable) as caught:
        fetch(wire, WRITE)
    assert wire.sent == 1
    assert caught.value.maybe_done is maybe_done


def test_a_revoked_oauth_token_is_fetched_anew_once():
    wire = Wire([REVOKED, GOOD], oauth=True)
    fetch(wire)
    assert (wire.forgotten, wire.sent) == (1, 2)


def test_credentials_refused_for_good_are_no_retry_storm():
    wire = Wire([REVOKED], oauth=True)
    asked = []
    with pytest.raises(OktaDenied):
        fetch(wire, credentials=lambda: asked.append(1) or None)
    assert (wire.forgotten, wire.sent, len(asked)) == (1, 2, 1)


def test_a_secret_rotated_on_disk_is_taken_up_and_the_call_goes_through():
    fresh = OktaSettings(api_token="new")
    wire = Wire([REVOKED, GOOD])
    fetch(wire, WRITE.__class__(**{**vars(WRITE), "decode": READ.decode}), credentials=lambda: fresh)
    assert wire.adopted == [fresh]
    assert wire.sent == 2


def test_a_secret_that_did_not_change_is_not_tried_again():
    same = OktaSettings(api_token="old")
    wire = Wire([REVOKED], known=same)
    with pytest.raises(OktaDenied):
        fetch(wire, credentials=lambda: same)
    assert wire.sent == 1


def test_a_half_written_config_keeps_the_old_secret():
    def half() -> OktaSettings:
        raise ConfigError(["okta: unreadable"])

    with pytest.raises(OktaDenied):
        fetch(Wire([REVOKED]), credentials=half)


def test_of_many_calls_refused_at_once_one_reads_the_secret():
    asked = []

    def fresh() -> OktaSettings:
        asked.append(1)
        return OktaSettings(api_token="new")

    wire = Wire([REVOKED] * CONCURRENT + [GOOD])
    found = fetch(wire, credentials=fresh, times=CONCURRENT)
    assert all(isinstance(reply, Reply) for reply in found)
    assert len(asked) == 1


def test_no_more_than_eight_calls_are_under_way():
    wire = Wire([GOOD])
    fetch(wire, times=50)
    assert wire.most <= CONCURRENT


def test_every_error_is_one_of_okta():
    for answer in [
        *SOFT,
        REVOKED,
        OktaAnswer(status=429),
        OktaAnswer(status=599),
        OktaAnswer(status=100),
        OktaAnswer(status=418),
    ]:
        with pytest.raises(OktaError):
            fetch(Wire([answer]), retries=0)
