"""The provisioning engine: what Okta pushes to the app, in which order, and what becomes of a push that fails.

| cause                        | sent                                                                    |
|------------------------------|-------------------------------------------------------------------------|
| assignment, name unknown     | GET ?filter=userName eq, POST                                           |
| assignment, name found       | link, PUT of the profile; inactive or assigned before: `active` true    |
| mapped attribute changed     | GET, PUT of the server's own body with the mapped attributes put in     |
| unassignment, deactivation   | PATCH active false without path (oin), GET and PUT (wizard)             |
| suspend, unsuspend           | nothing                                                                 |
| no externalId (lost create)  | nothing on a change or an unassignment: Okta knows no account           |

A DELETE is never sent. Pushes of one person go out in order; of different people side by side.
"""

import asyncio
from collections import deque
from dataclasses import dataclass
from typing import Any

from agent.simulator import ids, scim_body
from agent.simulator.entities import LIVE, OrgAppUser, Task
from agent.simulator.scim_client import PushFailed, ScimClient, Throttled
from agent.simulator.state import OrgState

#: Okta gives up after ten tries; the task then waits for a person.
MAX_ATTEMPTS = 10
#: Pushes that are under way at once.
CONCURRENCY = 8
MODES = ("on", "off", "lossy")
_EVENTS = {"assign": "push", "update": "push_profile", "deactivate": "deactivate", "reactivate": "reactivate"}
_WORDS = {"assign": "provisioning", "update": "profile push", "deactivate": "deprovisioning"}


@dataclass(kw_only=True, slots=True, eq=False)
class Push:
    """One waiting push. It reads the app user when it runs, so it sends what is true then."""

    kind: str
    app_user: OrgAppUser


class Provisioning:
    """Queues and sends pushes. ``mode`` off and lossy drop them, in a way that looks successful to Okta."""

    def __init__(self, org: OrgState) -> None:
        settings = org.settings
        self._org = org
        self.client = ScimClient()
        self.client.url, self.client.key = settings.scim_url, settings.scim_key
        self.mode = "on"
        self.loss = 0.1
        self.time_scale = settings.time_scale
        #: PUT bodies carry the server's own externalId ("echo") or Okta's user id ("own").
        self.external_id = "echo"
        self.tasks: dict[str, Task] = {}
        self._failed: dict[str, Push] = {}
        self._queues: dict[str, deque[Push]] = {}
        self._workers: set[asyncio.Task[None]] = set()
        self._slots = asyncio.Semaphore(CONCURRENCY)
        self._quiet = asyncio.Event()
        self._quiet.set()
        self._known: set[str] = set()

    @property
    def enabled(self) -> bool:
        return self.client.url is not None

    # -- what happens in the org -------------------------------------------------------------------------------------

    def assigned(self, app_user: OrgAppUser) -> None:
        """A new assignment, or one whose user has just been activated."""
        if not self._push("assign", app_user):
            _mark(app_user, "PROVISIONED", "SYNCHRONIZED", synced=True)
            self._known.add(app_user.user.id)

    def changed(self, app_user: OrgAppUser) -> None:
        """A mapped attribute has changed."""
        wanted = app_user.user.status in LIVE and self._follows(app_user, "PUSH_PROFILE_UPDATES")
        if wanted and not self._push("update", app_user):
            app_user.last_sync, app_user.rendered = ids.now(), None

    def removed(self, app_user: OrgAppUser) -> None:
        """The app user is gone; its account is deactivated if Okta knows it."""
        if self._follows(app_user, "PUSH_USER_DEACTIVATION"):
            self._push("deactivate", app_user)

    def push_waiting(self) -> int:
        """Send what no push has told the app yet: everybody without an externalId whom Okta would provision."""
        waiting = [
            app_user
            for app_user in self._org.app_users.values()
            if app_user.external_id is None and app_user.user.status in LIVE and app_user.user.id not in self._queues
        ]
        for app_user in waiting:
            self.assigned(app_user)
        return len(waiting)

    def retry(self, task_ids: list[str] | None = None) -> int:
        """The Retry button: failed pushes go into the queue again."""
        chosen = [task_id for task_id in self.tasks if task_ids is None or task_id in task_ids]
        for task_id in chosen:
            del self.tasks[task_id]
            self._enqueue(self._failed.pop(task_id))
        return len(chosen)

    async def quiet(self) -> None:
        """Until no push is waiting or under way."""
        await self._quiet.wait()

    async def close(self) -> None:
        for worker in self._workers:
            worker.cancel()
        await asyncio.gather(*self._workers, return_exceptions=True)
        await self.client.close()

    # -- the queue ---------------------------------------------------------------------------------------------------

    def _follows(self, app_user: OrgAppUser, feature: str) -> bool:
        """Whether a change reaches the app: it knows the person, or is just being told."""
        known = app_user.external_id is not None or app_user.user.id in self._queues
        return known and self._org.has_feature(feature) and self._org.app_active

    def _push(self, kind: str, app_user: OrgAppUser) -> bool:
        """False: it was dropped."""
        lost = self.mode == "off" or (self.mode == "lossy" and self._org.draw.random() < self.loss)
        if lost or not self.enabled:
            self.client.note(_about(kind, app_user), dropped=True)
            return False
        self._enqueue(Push(kind=kind, app_user=app_user))
        return True

    def _enqueue(self, push: Push) -> None:
        okta_id = push.app_user.user.id
        if push.kind != "deactivate":
            push.app_user.sync_state, push.app_user.rendered = "SYNCING", None
        self._quiet.clear()
        queue = self._queues.get(okta_id)
        if queue is not None:
            queue.append(push)
            return
        self._queues[okta_id] = deque([push])
        worker = asyncio.get_running_loop().create_task(self._drain(okta_id))
        self._workers.add(worker)
        worker.add_done_callback(self._workers.discard)

    async def _drain(self, okta_id: str) -> None:
        queue = self._queues[okta_id]
        try:
            while queue:
                await self._run(queue[0])
                queue.popleft()
        finally:
            del self._queues[okta_id]
            if not self._queues:
                self._quiet.set()

    async def _run(self, push: Push) -> None:
        """Ten tries at most, and only a 429 is tried again by itself."""
        reason = ""
        for attempt in range(1, MAX_ATTEMPTS + 1):
            try:
                async with self._slots:
                    await self._send(push, attempt)
            except Throttled as exc:
                reason = exc.reason
                self._event("application.integration.rate_limit_exceeded", push, reason)
                if attempt < MAX_ATTEMPTS:
                    await asyncio.sleep(exc.retry_after * 2 ** (attempt - 1) * self.time_scale)
            except PushFailed as exc:
                if exc.kind != "answer":
                    self._event(f"application.integration.{exc.kind}_failure", push, exc.reason)
                self._fail(push, exc.reason, attempt)
                return
            else:
                return
        self._fail(push, reason, MAX_ATTEMPTS)

    def _fail(self, push: Push, reason: str, attempts: int) -> None:
        """An administrator's task; the app user shows ERROR, and STAGED if no account came of it."""
        app_user, org = push.app_user, self._org
        login = str(app_user.user.profile.get("login"))
        task = Task(
            id=org.ids.new("tsk"),
            okta_id=app_user.user.id,
            login=login,
            kind=push.kind,
            error=f"Automatic {_WORDS[push.kind]} of user {login} to app {org.app['label']} failed: {reason}",
            attempts=attempts,
            created=ids.now(),
            external_id=app_user.external_id,
            user_name=app_user.user_name,
        )
        self.tasks[task.id], self._failed[task.id] = task, push
        status = "STAGED" if push.kind == "assign" else app_user.status
        _mark(app_user, status, "ERROR", synced=False)
        self._event(f"application.provision.user.{_EVENTS[push.kind]}", push, reason)

    # -- one push ----------------------------------------------------------------------------------------------------

    async def _send(self, push: Push, attempt: int) -> None:
        app_user = push.app_user
        about = {**_about(push.kind, app_user), "attempt": attempt}
        current = self._org.app_users.get(app_user.user.id) is app_user
        if push.kind == "deactivate":
            if app_user.external_id is not None:
                await self._switch(app_user.external_id, active=False, about=about)
                self._event("application.provision.user.deactivate", push)
                self._event("application.user_membership.deprovision", push)
            return
        if not current:
            return
        if push.kind == "assign":
            await self._assign(push, about)
            _mark(app_user, "PROVISIONED", "SYNCHRONIZED", synced=True)
        elif app_user.external_id is not None:
            server = await self.client.get(app_user.external_id, about=about)
            await self._put(app_user, app_user.external_id, server, about)
            self._event("application.provision.user.push_profile", push)
            _mark(app_user, app_user.status, "SYNCHRONIZED", synced=True)

    async def _assign(self, push: Push, about: dict[str, Any]) -> None:
        app_user = push.app_user
        found = await self.client.find(app_user.user_name, about=about)
        before = app_user.user.id in self._known
        if found is None:
            app_user.external_id = await self.client.create(scim_body.create(app_user, self._org.unsent), about=about)
            self._event("application.provision.user.push", push)
        else:
            external_id = str(found["id"])
            self._event("application.provision.user.verify_exists", push)
            await self._put(app_user, external_id, found, about)
            if self._org.has_feature("REACTIVATE_USERS") and (before or found.get("active") is not True):
                await self._switch(external_id, active=True, about=about)
                self._event("application.provision.user.reactivate", push)
            app_user.external_id = external_id
            self._event("application.provision.user.push_profile", push)
        self._known.add(app_user.user.id)
        self._event("application.user_membership.provision", push)

    async def _put(self, app_user: OrgAppUser, external_id: str, server: dict[str, Any], about: dict[str, Any]) -> None:
        body = scim_body.replace(
            server,
            app_user,
            self._org.unsent,
            user_name=not self._org.has_feature("EXCLUDE_USERNAME_UPDATE_ON_PROFILE_PUSH"),
            own_external_id=self.external_id == "own",
        )
        await self.client.put(external_id, body, about=about)

    async def _switch(self, external_id: str, *, active: bool, about: dict[str, Any]) -> None:
        if self._org.settings.app_style == "oin":
            await self.client.patch(external_id, scim_body.patch_active(active=active), about=about)
            return
        server = await self.client.get(external_id, about=about)
        await self.client.put(external_id, {**server, "active": active}, about=about)

    def _event(self, event_type: str, push: Push, failure: str | None = None) -> None:
        self._org.log.add(event_type, app_user=push.app_user, failure=failure)


def _mark(app_user: OrgAppUser, status: str, sync_state: str, *, synced: bool) -> None:
    now = ids.now()
    if app_user.status != status:
        app_user.status, app_user.status_changed = status, now
    app_user.sync_state, app_user.last_updated, app_user.rendered = sync_state, now, None
    if synced:
        app_user.last_sync = now


def _about(kind: str, app_user: OrgAppUser) -> dict[str, Any]:
    return {"kind": kind, "okta_id": app_user.user.id, "user_name": app_user.user_name, "dropped": False}
