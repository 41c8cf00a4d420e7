"""Calls to the remote: one client, time-outs, retries, a rate budget. Knows HTTP; knows nothing of users.

==============================================  ======================  =================================================
what happened                                   a read                  a write
==============================================  ======================  =================================================
never sent (no connection)                      tried again             tried again
429                                             tried again             tried again: the remote says that it did nothing
502, 503, 504, no answer, one cut short         tried again             AnswerLost: the caller looks before it sends
                                                                        again, after a 503 with growing pauses
500, a 200 that is no JSON object               tried again for a       AnswerLost
                                                while only
a certificate that isn't trusted, no TLS        DirectoryUnavailable    DirectoryUnavailable
401; a redirect to another host                 DirectoryUnavailable    DirectoryUnavailable
403 but to a filter; no list of accounts (404)  DirectoryUnavailable    the answer
any other answer                                the answer              the answer
==============================================  ======================  =================================================

Retry-After is kept, as seconds or as a date, as long as the caller's patience lasts. What others have waited already, while nothing
was heard of the remote, is taken off it: calls that meet one that is down share one wait. A remote that has never given a SCIM
answer in this process may just be the wrong address: it gets ``STRANGER`` seconds at most. So does a 500, and only
``Pace.nonsense`` where the remote has never answered such a question: then it is the question that it fails at. The key is sent in a header alone
and is in no error and no log line; addresses are not logged either, for a filter holds a userName.
"""

import logging
import math
import re
import ssl
import threading
import time
import weakref
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any
from urllib.parse import urljoin, urlsplit

import httpx
import msgspec
from msgspec import Struct

from agent.directory.remote import deadline, trouble
from agent.directory.remote.patience import (
    PATIENT,
    STRANGER,
    Lost,
    NoAnswer,
    Pace,
    Silence,
    Tries,
    Unusable,
    retry_after,
)
from agent.directory.remote.route import CallBudget, route
from agent.model.errors import UNDECODABLE, DirectoryUnavailable, KeyRefused
from agent.settings import DirectorySettings

SCIM_JSON = "application/scim+json"
#: A page of 1,000 accounts has about 2 MB.
MAX_ANSWER = 64 * 1024 * 1024
_MAX_REDIRECTS = 3
#: For all calls that end what was begun, once the process is asked to stop; so long may one wait for its turn then.
LAST_SECONDS = 20.0
_SHORT_TURN = 1.0
#: Seconds until somebody has taken the connection.
_CONNECTING = 10.0
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_RETRIED = frozenset({429, 500, 502, 503, 504})
#: Said by who is in front of the remote, or by one that is overloaded: it passes.
_PASSING = frozenset({502, 503, 504})
#: Of what the remote says why, and of it in an error about itself.
LONGEST_WORDS = 1000
_MOST_WORDS = 200
#: Where a program's stack begins, in what some say of an error.
_STACK = re.compile(r"Traceback \(most recent call last\):?|\n[ \t]+at (?=\S+ ?\(|\S+:\d)")
_ACCOUNTS = "/Users"
_SET_KEY = "Set OPSHELM_DIRECTORY__API_KEY (directory.api_key) to"
SET_ADDRESS = "Check directory.base_url: it is the SCIM base address, which often ends in /scim/v2."
LATER = "Try again later."
_NO_WAITING = "It was asked several times; no waiting mends that. Ask whoever runs it, and check directory.base_url."

# Both would log addresses, and one of them every header of an answer.
for _name in ("httpx", "httpcore"):
    logging.getLogger(_name).setLevel(logging.WARNING)


class RemoteAnswer(Struct, frozen=True, kw_only=True):
    """``status`` as it came; ``content`` is the whole body."""

    status: int
    content: bytes
    etag: str | None = None

    @property
    def ok(self) -> bool:
        return 200 <= self.status < 300

    def json(self) -> dict[str, Any]:
        """The body as an object; {} where it is none."""
        try:
            value = msgspec.json.decode(self.content)
        except UNDECODABLE:
            return {}
        return value if isinstance(value, dict) else {}

    @property
    def named(self) -> dict[str, Any]:
        """What an error's body says, by names in lower case."""
        return {key.lower(): value for key, value in self.json().items()}

    @property
    def words(self) -> str | None:
        """Why, in the remote's own words: as SCIM has it, or as web frameworks say which part of a body is wrong."""
        names = self.named
        found = next((names[name] for name in ("detail", "errors", "message", "error") if names.get(name)), None)
        if found is None:
            found = {name: value for name, value in names.items() if isinstance(value, list) and name != "schemas"}
        said = _STACK.split("; ".join(_flat(found)), maxsplit=1)
        # One line, whatever it was there; of an error with its stack, the error.
        return " ".join((said[0].strip() or said[-1].strip().rpartition("\n")[2]).split()) or None


def _flat(said: Any) -> list[str]:
    """A message, several, or a message for each attribute."""
    if isinstance(said, str):
        return [said]
    if isinstance(said, list):
        return [text for one in said for text in _flat(one)]
    if not isinstance(said, dict):
        return []
    text = next((said[name] for name in ("msg", "message", "detail") if isinstance(said.get(name), str)), None)
    place = said.get("loc") or said.get("path") or said.get("field")
    if text is not None:
        where = ".".join(str(step) for step in place) if isinstance(place, list) else place
        return [f"{where}: {text}" if where else text]
    return [f"{name}: {text}" for name, value in said.items() for text in _flat(value)]


class Transport:
    """Thread-safe. Close it."""

    def __init__(self, settings: DirectorySettings, pace: Pace, stop: threading.Event | None = None) -> None:
        """``stop`` ends every pause between two tries, and soon every call."""
        assert settings.base_url is not None
        assert settings.api_key is not None
        self.base_url = settings.base_url.rstrip("/")
        self.host = urlsplit(self.base_url).netloc.rpartition("@")[2]
        self.seconds = settings.timeout.total_seconds()
        self._stop = stop or threading.Event()
        self._last = math.inf
        self._silence = Silence(self.seconds)
        self.budget = CallBudget(settings.max_per_second, sleep=self._turn)
        self.pace = pace
        #: When the remote's certificate ends; None without TLS or before the first call.
        self.certificate_ends: datetime | None = None
        #: No call is tried longer than this, whatever its caller says.
        self.most_patience = PATIENT
        #: Kinds of questions that it has answered.
        self._answered = set[str]()
        self._key = settings.api_key.get_secret_value()
        self._headers = httpx.Headers(
            {
                "Authorization": f"Bearer {self._key}",
                "Accept": f"{SCIM_JSON}, application/json;q=0.9",
                "Accept-Encoding": "gzip, deflate",
                "User-Agent": "opshelm-agent",
            }
        )
        #: What sends a request and brings its answer.
        self.route: httpx.BaseTransport = route(settings)
        # A one-shot command just ends.
        weakref.finalize(self, self.route.close)

    def close(self) -> None:
        self.route.close()

    def masked(self, text: str) -> str:
        """What the remote said, without the key: some servers repeat the headers of a call that they refuse."""
        return text.replace(self._key, "***")

    def words(self, answer: RemoteAnswer) -> str:
        """The remote's own, of an error: to be put behind its status."""
        said = answer.words
        if said is not None:
            return f": {self.masked(said)[:_MOST_WORDS].rstrip('.')}"
        return ", with a web page" if answer.content.lstrip()[:1] == b"<" else ""

    def unavailable(self, problem: str, fix: str = "") -> DirectoryUnavailable:
        return DirectoryUnavailable(f"The remote OpsHelm at {self.host} {problem}. {fix}".rstrip())

    def refused(self, what: str, answer: RemoteAnswer, fix: str = "") -> DirectoryUnavailable:
        """It doesn't do ``what`` at all."""
        hint = "The key may lack rights there." if answer.status == 403 else fix
        return self.unavailable(f"answered {what} with {answer.status}{self.words(answer)}", hint)

    def read(
        self,
        path: str,
        params: Mapping[str, str | int] | None = None,
        *,
        patience: float = PATIENT,
        with_nonsense: float = PATIENT,
    ) -> RemoteAnswer:
        """A GET, tried again while it may help. Answers anything but 401, 403, 429 and 5xx."""
        return self._patiently(lambda: self._read_once(path, params), patience, with_nonsense)

    def write(
        self,
        method: str,
        path: str,
        body: Mapping[str, Any] | None = None,
        *,
        if_match: str | None = None,
        patience: float = PATIENT,
        last_look: Callable[[], None] | None = None,
    ) -> RemoteAnswer:
        """``last_look`` is called right before each sending; what it raises stops the call."""
        content = None if body is None else msgspec.json.encode(body)
        headers = self._headers.copy()
        if content is not None:
            headers["Content-Type"] = SCIM_JSON
        if if_match is not None and if_match.isascii() and if_match.isprintable():
            # Any other one is no ETag (RFC 9110 §8.8.3), and can't be said in a header.
            headers["If-Match"] = if_match

        def once() -> RemoteAnswer:
            self._wait_for_turn()
            if last_look is not None:
                last_look()
            answer, after = self._exchange(method, path, content=content, headers=headers, writes=True)
            if answer.status == 429:
                raise self._again("asks to wait (429)", after=after)
            if answer.status >= 500 and answer.status != 501:
                said = f"answered {answer.status}{self.words(answer)}"
                raise self._lost(said, status=answer.status, after=after)
            if 300 <= answer.status < 400:
                raise self.unavailable(f"answered a write with a redirect ({answer.status})", SET_ADDRESS)
            return answer

        return self._patiently(once, patience)

    def tries(self) -> Tries:
        """Of a call whose caller judges whether it is sent again."""
        return Tries(self.pace.first_wait, self._stop)

    def _patiently(
        self, once: Callable[[], RemoteAnswer], patience: float, with_nonsense: float = PATIENT
    ) -> RemoteAnswer:
        tries = self.tries()
        while True:
            try:
                return once()
            except NoAnswer as failed:
                limit = min(patience, self.most_patience, failed.most)
                # Who says when to come again is there, and speaks our language.
                if failed.after is None and not self._answered:
                    limit = min(limit, STRANGER)
                if isinstance(failed, Unusable):
                    limit = min(limit, with_nonsense)
                limit -= max(0.0, self._silence.seconds - tries.seconds)
                if not tries.again(failed.problem, failed.after, limit):
                    raise

    # The end of the process

    def _turn(self, seconds: float) -> bool:
        if seconds <= _SHORT_TURN:
            time.sleep(seconds)
            return False
        return self._stop.wait(seconds)

    def _wait_for_turn(self) -> None:
        if not self.budget.wait():
            raise self._stopped()

    def _left(self) -> float:
        """Seconds that calls still have; infinite until the process is asked to stop."""
        if self._last == math.inf and self._stop.is_set():
            self._last = time.monotonic() + LAST_SECONDS
        return self._last - time.monotonic()

    def _stopped(self) -> DirectoryUnavailable:
        return DirectoryUnavailable(
            f"The agent was asked to stop; this call to the remote OpsHelm at {self.host} was not sent any more. {LATER}"
        )

    # One try

    def _read_once(self, path: str, params: Mapping[str, str | int] | None) -> RemoteAnswer:
        question = _question(path, params or {})
        for _ in range(_MAX_REDIRECTS):
            self._wait_for_turn()
            answer, after = self._exchange("GET", path, params=params)
            if answer.status not in _REDIRECTS:
                break
            path, params = self._same_host(path, answer.content.decode()), None
        else:
            raise self.unavailable("redirects in a circle", SET_ADDRESS)
        if answer.status in _RETRIED:
            if answer.status == 429:
                raise self._again("asks to wait (429)", after=after)
            raise self._nonsense(f"{answer.status}{self.words(answer)}", question, answer.status in _PASSING, after)
        if answer.status == 200 and not answer.content.lstrip()[:1] == b"{":
            raise self._nonsense("200 and something that is no JSON object", question)
        self._refuse(answer, path, searches="filter" in (params or {}))
        if answer.ok:
            self._answered.add(question)
        return answer

    def _refuse(self, answer: RemoteAnswer, path: str, *, searches: bool) -> None:
        """A search that is refused is its caller's to judge: everybody can be listed instead."""
        if answer.status == 403 and path.startswith(_ACCOUNTS) and not searches:
            problem = f"says that the agent's key may not read there (403{self.words(answer)})"
            raise self.unavailable(problem, f"{_SET_KEY} one that may read and write users.")
        if answer.status == 404 and path == _ACCOUNTS and not searches:
            raise self.unavailable("has no list of accounts there (404)", SET_ADDRESS)

    def _exchange(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, str | int] | None = None,
        content: bytes | None = None,
        headers: httpx.Headers | None = None,
        writes: bool = False,
    ) -> tuple[RemoteAnswer, float | None]:
        """The answer and its Retry-After. Of a redirect, ``content`` is where it leads."""
        url = self._url(path)
        left = self._left()
        if left <= 0:
            raise self._stopped()
        seconds = min(self.seconds, left, deadline.left() - (deadline.READING_BACK if writes else 0.0))
        if seconds <= 0:
            raise self._overdue()
        connecting = min(_CONNECTING, seconds)
        pauses = {"connect": connecting, "read": seconds, "write": seconds, "pool": seconds}
        try:
            request = httpx.Request(
                method,
                _parsed(url),
                params=params,
                content=content,
                headers=headers or self._headers,
                extensions={"timeout": pauses},
            )
        except (httpx.InvalidURL, ValueError) as exc:
            raise self.unavailable("has an address that can't be asked for", "Nothing was sent.") from exc
        try:
            with deadline.within(seconds):
                response = self.route.handle_request(request)
                self._silence.end()
                try:
                    self._note_certificate(response)
                    said = _said(response)
                    body = self._body(response, said)
                finally:
                    response.close()
        except trouble.NOT_SENT as exc:
            if isinstance(exc, httpx.TimeoutException) and seconds < min(_CONNECTING, self.seconds):
                raise self._overdue() from exc
            self._silence.goes_on()
            found = trouble.unreached(exc)
            raise (self._again if found.again else self.unavailable)(found.problem, found.fix) from exc
        except httpx.HTTPError as exc:
            self._silence.goes_on()
            problem = f"gave no whole answer ({type(exc).__name__})"
            raise (self._lost(problem) if writes else self._again(problem)) from exc
        if response.status_code == 401:
            words = self.words(RemoteAnswer(status=401, content=body))
            refused = f"refuses the agent's key (401{words})"
            raise KeyRefused(self.unavailable(refused, f"{_SET_KEY} a key that is valid there.").detail)
        if response.status_code in _REDIRECTS:
            body = said.get("location", "").encode()
        return RemoteAnswer(status=response.status_code, content=body, etag=said.get("etag")), retry_after(said)

    def _body(self, response: httpx.Response, said: Mapping[str, str]) -> bytes:
        chunks: list[bytes] = []
        size = 0
        # Most answers are sent as they are; decoding nothing would cost as much as reading them.
        parts = response.iter_bytes() if "content-encoding" in said else response.stream
        assert isinstance(parts, Iterable)
        for chunk in parts:
            size += len(chunk)
            if size > MAX_ANSWER:
                raise httpx.ReadError(f"more than {MAX_ANSWER} bytes")
            chunks.append(chunk)
        return b"".join(chunks)

    def _url(self, path: str) -> str:
        """``path`` below the base address, or where a redirect led."""
        return path if path.startswith(("http://", "https://")) else self.base_url + path

    def _same_host(self, path: str, location: str) -> str:
        try:
            target = urljoin(self._url(path), location)
            here, there = urlsplit(self.base_url), urlsplit(target)
        except ValueError as exc:
            raise self.unavailable("redirects to what is no address", SET_ADDRESS) from exc
        if (here.scheme, here.netloc) != (there.scheme, there.netloc):
            where = f"{there.scheme}://{there.netloc.rpartition('@')[2]}"
            raise self.unavailable(
                f"redirects to another host ({self.masked(where)})",
                "The key is not sent there; set directory.base_url to the final address.",
            )
        return target

    def _note_certificate(self, response: httpx.Response) -> None:
        if self.certificate_ends is not None:
            return
        stream = response.extensions.get("network_stream")
        peer = stream.get_extra_info("ssl_object") if stream is not None else None
        found = peer.getpeercert() if peer is not None else None
        if found and "notAfter" in found:
            self.certificate_ends = datetime.fromtimestamp(ssl.cert_time_to_seconds(str(found["notAfter"])), UTC)

    # What went wrong

    def _overdue(self) -> DirectoryUnavailable:
        return self.unavailable("took too long in all; this call was not sent any more", LATER)

    def _again(self, problem: str, fix: str = LATER, *, after: float | None = None) -> NoAnswer:
        return NoAnswer(self.unavailable(problem, fix).detail, problem, after=after)

    def _nonsense(self, said: str, question: str, passing: bool = False, after: float | None = None) -> Unusable:
        passing = passing or after is not None
        lasting = not passing and question not in self._answered
        fix = LATER if passing else SET_ADDRESS if said.startswith("200") else _NO_WAITING
        detail = self.unavailable(f"answered {question} with {said}", fix).detail
        most = self.pace.nonsense if lasting else PATIENT if passing else STRANGER
        error = Unusable(detail, f"answered {said}", after=after, most=most)
        error.lasting = lasting
        return error

    def _lost(self, problem: str, *, status: int = 0, after: float | None = None) -> Lost:
        asked = f" and asks to wait {after:.0f} s" if after else ""
        return Lost(
            f"The remote OpsHelm at {self.host} {problem}{asked}; whether it did what was asked is not known.",
            failed=status == 500,
            busy=status == 503,
            after=after,
        )


def _question(path: str, params: Mapping[str, str | int]) -> str:
    """What is asked for, in words: the remote answers all of a kind or none."""
    if path != _ACCOUNTS:
        return "a read of one account" if path.startswith(_ACCOUNTS) else path.removeprefix("/")
    by = str(params.get("filter", "")).partition(" ")[0]
    return f"a search by {by}" if by else f"a list ({', '.join(params)})"


#: One account is read, written and read again.
_parsed = lru_cache(maxsize=64)(httpx.URL)


def _said(response: httpx.Response) -> dict[str, str]:
    """Headers by lower-case name; httpx would go through all of them for each that is asked for."""
    return {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in response.headers.raw}
