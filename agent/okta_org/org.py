"""One Okta org, for plain synchronous code. Owns an event loop in a thread of its own; safe to use from many threads.

Every method raises an ``OktaError`` or gives a whole answer. Listings are iterators of pages: whoever sees one end without an
error has seen all of it. What waits for Okta's limits waits inside; ``run`` takes who is told so, on the loop's thread, and must
not call back into this object. Every wait ends with ``end_waits`` and with ``close``. Does not decide anything about people.
"""

import asyncio
import contextlib
import random
import threading
import time
from collections import deque
from collections.abc import Callable, Coroutine, Iterator, Sequence
from concurrent.futures import CancelledError, Future
from datetime import datetime
from typing import TYPE_CHECKING, Any, TypeVar

from msgspec import Struct

from agent.model.errors import ConfigError, OktaNotFound, OktaRejected, OktaUnreachable, Unaddressable
from agent.model.matching import login_key
from agent.model.okta import App, AppGroup, AppUser, EventHook, LogEvent, OktaGroup, OktaUser, Person, is_okta_id
from agent.model.users import identity_key
from agent.okta_org import calls
from agent.okta_org.caller import CONCURRENT, FreshCredentials, OktaCaller
from agent.okta_org.calls import Call, Reply, Trail, on_this_org
from agent.okta_org.limits import CallAllowance, RateBudget, RateLimits

if TYPE_CHECKING:
    from agent.okta_org.sdk import Sdk
    from agent.settings import OktaSettings

T = TypeVar("T")


class OktaOrg:
    def __init__(
        self,
        settings: "OktaSettings",
        *,
        credentials: FreshCredentials | None = None,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
        sleep: Callable[[float], Coroutine[Any, Any, None]] = asyncio.sleep,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._settings = settings
        self._limits = RateLimits(settings.budget_share, clock=clock, wall=wall, sleep=sleep, jitter=jitter)
        self._own = threading.local()
        self._gate = threading.Lock()
        self._closed = False
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="okta", daemon=True)
        self._thread.start()
        try:
            self._sdk: Sdk = self._wait(_open(settings))
        except BaseException:
            self._stop()
            raise
        self._caller = OktaCaller(self._sdk, self._limits, max_retries=settings.max_retries, credentials=credentials)

    @classmethod
    def connect(cls, settings: "OktaSettings", *, credentials: FreshCredentials | None = None) -> "OktaOrg":
        """Check the settings and load the SDK; the first call to Okta comes later. ``credentials`` reads the secrets anew."""
        return cls(settings, credentials=credentials)

    def close(self) -> None:
        """Whoever still waits for an answer gets an error at once."""
        with self._gate:
            if self._closed:
                return
            self._closed = True
        # What was submitted before is a task by the time that this one runs: the loop takes them in turn.
        asyncio.run_coroutine_threadsafe(self._wind_up(), self._loop).result()
        self._stop()

    def end_waits(self) -> None:
        """The process is to end: nobody waits for Okta's limits any more, and no listing goes on. From any thread, at once."""
        with contextlib.suppress(RuntimeError):  # closed: nobody waits
            self._loop.call_soon_threadsafe(self._caller.end)

    def __enter__(self) -> "OktaOrg":
        return self

    def __exit__(self, *_exc: object) -> None:
        self.close()

    # --- limits

    @contextlib.contextmanager
    def run(self, on_wait: Callable[[float, str], None] | None = None) -> Iterator[CallAllowance]:
        """Within it all calls of this thread share ``okta.max_wait``. Outside, each call and each listing has its own.

        ``on_wait`` is told of every wait: seconds, and for what.
        """
        seconds, before = self._settings.max_wait.total_seconds(), getattr(self._own, "allowance", None)
        allowance = self._own.allowance = CallAllowance(seconds, *() if on_wait is None else (on_wait,))
        try:
            yield allowance
        finally:
            self._own.allowance = before

    def budget(self) -> dict[str, RateBudget]:
        return self._limits.snapshot()

    def clock_skew(self) -> float | None:
        """Seconds that Okta's clock is ahead of this machine's, to a second or so; None before the first answer."""
        return self._limits.skew

    # --- the org and the app

    def org_id(self) -> str:
        answer = self._fetch(calls.org())
        if isinstance(answer.get("id"), str) and answer["id"]:
            return str(answer["id"])
        raise OktaUnreachable("Okta's answer doesn't say which org it is.")

    def app(self, app_id: str | None = None) -> App:
        return self._fetch(calls.app(app_id or self._app_id))

    def app_schema(self) -> dict[str, Any]:
        return self._fetch(calls.app_schema(self._app_id))

    def whoami(self) -> OktaUser | None:
        """The person whose API token this is; None for an OAuth app, which is nobody's."""
        return None if self._settings.api_token is None else self._fetch(calls.whoami())

    def token_scopes(self) -> frozenset[str] | None:
        """What Okta granted to the OAuth app; None with an API token, which has its owner's rights."""
        return self._wait(self._sdk.scopes())

    # --- people, read

    def app_user_pages(self, limit: int = 500, profile: type[Struct] | None = None) -> Iterator[list[AppUser]]:
        """``profile``: what a page's profiles become at once, where they fit."""
        return self._pages(calls.app_users(self._app_id, limit, profile))

    def users_with_status_pages(self, status: str) -> Iterator[list[OktaUser]]:
        return self._pages(calls.users_with_status(status))

    def users_deprovisioned_since(self, since: datetime) -> Iterator[list[OktaUser]]:
        return self._pages(calls.users_deprovisioned_since(since))

    def person(self, okta_id: str) -> Person:
        """One direct read. ``app_user`` is None only where Okta says 404 of it while the app itself still answers."""
        return self._wait(self._person(okta_id, self._allowance()))

    def people(self, okta_ids: Sequence[str]) -> Iterator[Person | Unaddressable]:
        """The same for many, up to eight at a time, in the order of ``okta_ids``."""
        allowance = self._allowance()
        ahead: deque[Future[Person]] = deque()
        try:
            for okta_id in okta_ids:
                self._go_on()
                ahead.append(self._submit(self._person(okta_id, allowance)))
                if len(ahead) >= CONCURRENT:
                    yield _person_of(ahead.popleft())
            while ahead:
                yield _person_of(ahead.popleft())
        finally:
            for future in ahead:
                future.cancel()

    def user(self, id_or_login: str) -> OktaUser | None:
        """By id, login or short login; a login that no address can name is searched for."""
        if id_or_login and not calls.addressable(id_or_login):
            named = (
                user for user in self.find_users_by(login=id_or_login) if login_key(user) == identity_key(id_or_login)
            )
            return next(named, None)
        return self._wait(self._user(id_or_login, self._allowance()))

    def find_users_by(self, *, login: str | None = None, email: str | None = None) -> list[OktaUser]:
        """By login or by primary e-mail, case ignored, the deactivated too.

        Okta's search lags behind its own writes and the other two ways don't, but a filter minds case: so both are asked.
        """
        attribute, value = ("profile.login", login) if login is not None else ("profile.email", email or "")
        return self._found(calls.equals(attribute, value))

    def find_users_named(self, first: str, last: str) -> list[OktaUser]:
        """The same by first and last name."""
        return self._found(f"{calls.equals('profile.firstName', first)} and {calls.equals('profile.lastName', last)}")

    def _found(self, term: str) -> list[OktaUser]:
        found: dict[str, OktaUser] = {}
        for call in (calls.users(search=term), calls.users(filter=term)):
            found |= {user.id: user for page in self._pages(call) for user in page}
        return list(found.values())

    # --- groups

    def app_groups(self) -> list[AppGroup]:
        return [group for page in self._pages(calls.app_groups(self._app_id)) for group in page]

    def group_members(self, group_id: str) -> Iterator[str]:
        """Their Okta ids."""
        return (user.id for page in self._pages(calls.group_members(group_id)) for user in page)

    def group(self, group_id: str) -> OktaGroup | None:
        """None: Okta has no such group."""
        try:
            return self._fetch(calls.group(group_id))
        except OktaNotFound:
            return None

    def groups_named(self, name: str) -> list[OktaGroup]:
        """Those of exactly this name, case ignored. Okta's own groups have one name each; those of a directory may share it."""
        found = [group for page in self._pages(calls.groups_named(name)) for group in page]
        return [group for group in found if group.profile.name.casefold() == name.casefold()]

    def groups_of_user(self, okta_id: str) -> frozenset[str] | None:
        """Ids of the groups that this person is in; None: Okta has no such person."""
        try:
            pages = list(self._pages(calls.groups_of_user(okta_id)))
        except OktaNotFound:
            return None
        return frozenset(group.id for page in pages for group in page)

    # --- people, written

    def create_user(self, profile: dict[str, Any], *, activate: bool, groups: Sequence[str] = ()) -> OktaUser:
        """``OktaRejected``: refused. ``OktaUnreachable`` with ``maybe_done``: look for the login before anything else."""
        return self._fetch(calls.create_user(profile, activate=activate, groups=tuple(groups)))

    def assign(self, okta_id: str, user_name: str, profile: dict[str, Any] | None = None) -> AppUser:
        """Assign to the app. ``profile`` may hold nothing that Okta maps (E0000075)."""
        return self._fetch(calls.assign(self._app_id, okta_id, user_name, profile))

    def unassign(self, okta_id: str) -> None:
        """``OktaNotFound``: there is no such assignment (any more)."""
        self._fetch(calls.unassign(self._app_id, okta_id))

    def activate_user(self, okta_id: str, *, send_email: bool = True) -> None:
        self._fetch(calls.activate_user(okta_id, send_email=send_email))

    def add_to_group(self, group_id: str, okta_id: str) -> None:
        self._fetch(calls.add_to_group(group_id, okta_id))

    # --- events

    def log_events(
        self,
        *,
        since: datetime | None = None,
        cursor: str | None = None,
        filter: str = "",  # noqa: A002 - Okta's own name
        limit: int = 1000,
    ) -> tuple[list[LogEvent], str | None]:
        """One page of the System Log, and where the next one begins. The cursor comes even with an empty page: keep it."""
        call = calls.log_events(since, filter, limit)
        if cursor is not None:
            call = calls.continued(call, on_this_org(self._sdk.org_url, cursor, call))
        reply = self._reply(call)
        return reply.value, reply.next[0] if reply.next else cursor

    def event_hooks(self) -> list[EventHook]:
        return self._fetch(calls.event_hooks())

    def create_event_hook(self, url: str, secret: str, events: Sequence[str], name: str) -> EventHook:
        return self._fetch(calls.create_event_hook(url, secret, tuple(events), name))

    def verify_event_hook(self, hook_id: str) -> EventHook:
        return self._fetch(calls.verify_event_hook(hook_id))

    # --- inside

    @property
    def _app_id(self) -> str:
        if not self._settings.app_id:
            raise ConfigError(["okta.app_id: missing; it is the id of the OpsHelm app in Okta (0oa…)"])
        return self._settings.app_id

    def _allowance(self) -> CallAllowance:
        own: CallAllowance | None = getattr(self._own, "allowance", None)
        return own or CallAllowance(self._settings.max_wait.total_seconds())

    def _fetch(self, call: Call[T]) -> T:
        return self._reply(call).value

    def _reply(self, call: Call[T], allowance: CallAllowance | None = None) -> Reply[T]:
        return self._wait(self._caller.fetch(call, allowance or self._allowance()))

    def _pages(self, first: Call[list[T]]) -> Iterator[list[T]]:
        allowance, trail = self._allowance(), Trail(self._sdk.org_url, first)
        call: Call[list[T]] | None = first
        while call is not None:
            self._go_on()
            reply = self._reply(call, allowance)
            # Before the page is used: a page whose cursor is refused is no page of a complete listing.
            call = trail.following(call, reply.next)
            yield reply.value

    async def _user(self, id_or_login: str, allowance: CallAllowance) -> OktaUser | None:
        try:
            return (await self._caller.fetch(calls.user(id_or_login), allowance)).value
        except OktaNotFound:
            return None

    async def _person(self, okta_id: str, allowance: CallAllowance) -> Person:
        app_id = self._app_id
        if not is_okta_id(okta_id):
            raise Unaddressable(f'"{okta_id}" is not an id of Okta.')
        try:
            app_user = (await self._caller.fetch(calls.app_user(app_id, okta_id), allowance)).value
        except OktaNotFound:
            await self._prove_app(app_id, allowance)
            return Person(okta_id=okta_id, okta_user=await self._user(okta_id, allowance))
        if app_user.id != okta_id:
            raise OktaUnreachable(f"Okta answered about {app_user.id} when asked about {okta_id}.")
        embedded = app_user.embedded.user if app_user.embedded else None
        return Person(okta_id=okta_id, app_user=app_user, okta_user=embedded or await self._user(okta_id, allowance))

    async def _prove_app(self, app_id: str, allowance: CallAllowance) -> None:
        """A 404 for a person means something only while the app answers: else everybody would look absent."""
        try:
            await self._caller.fetch(calls.app(app_id), allowance)
        except OktaNotFound as error:
            raise OktaRejected(
                f"Okta has no app {app_id}, so nobody's absence from it means anything. Check okta.app_id.",
                status=404,
                okta_code=error.okta_code,
            ) from error

    def _go_on(self) -> None:
        """Between the calls of a listing: it isn't begun, or goes on, in a process that is to end."""
        if self._caller.ended:
            raise OktaUnreachable("The agent was asked to stop before Okta was read to the end.")

    def _submit(self, work: Coroutine[Any, Any, T]) -> "Future[T]":
        # Closing comes before a submission or after it: what the loop never gets to would be waited for without end.
        with self._gate:
            if not self._closed:
                return asyncio.run_coroutine_threadsafe(work, self._loop)
        work.close()
        raise _closed()

    def _wait(self, work: Coroutine[Any, Any, T]) -> T:
        return _answer(self._submit(work))

    async def _wind_up(self) -> None:
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)
        await self._sdk.close()

    def _stop(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


def _closed() -> OktaUnreachable:
    return OktaUnreachable("The connection to Okta was closed before there was an answer.", maybe_done=True)


def _answer(future: "Future[T]") -> T:
    try:
        return future.result()
    except CancelledError as exc:
        raise _closed() from exc
    except BaseException:
        future.cancel()  # Ctrl-C in the caller must not leave the call running
        raise


def _person_of(future: "Future[Person]") -> Person | Unaddressable:
    try:
        return _answer(future)
    except Unaddressable as error:
        return error


async def _open(settings: "OktaSettings") -> "Sdk":
    from agent.okta_org.sdk import Sdk

    return await Sdk.open(settings)
