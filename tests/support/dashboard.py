"""The dashboard's pages as a browser without scripts sees them: a client that is signed in, and forms that it sends."""

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

from starlette.testclient import TestClient

from agent.dashboard.app import build
from agent.model.check import Check, ok
from agent.settings import Loaded, Settings, load
from agent.store import sessions
from agent.store.engine import Store
from agent.store.journal import Signature
from agent.store.sessions import DashboardRole, How, Session

HOST = "http://testserver"


class Ticking:
    """A daemon as the admin port knows it."""

    def __init__(self, **overdue: float) -> None:
        self._overdue = overdue

    def ages(self) -> dict[str, float]:
        return {"sweep": 12.0, **self._overdue}

    def overdue(self) -> dict[str, float]:
        return self._overdue

    def in_force(self) -> str:
        return "0123456789ab"

    def since(self) -> datetime:
        return datetime(2026, 3, 1, 12, 0, tzinfo=UTC)

    def loaded(self) -> Loaded:
        return load()

    def check(self, by: Signature) -> Iterator[Check]:
        yield ok("settings", f"asked by {by.actor}")


def parts(store: Store, settings: Settings | None = None, **more: Any) -> Any:
    """The agent as the dashboard uses it."""
    given = {"directory": None, "reconciler": None, "budget": lambda: None, "stopping": False, **more}
    return SimpleNamespace(store=store, settings=settings or Settings(), **given)


def app(store: Store, settings: Settings | None = None, daemon: Any = None, **more: Any) -> Any:
    return build(parts(store, settings, **more), "http://127.0.0.1:8765", daemon or Ticking())


class Browser:
    """One browser, on this machine unless another address is given."""

    def __init__(
        self, pages: Any, store: Store, *, peer: str = "127.0.0.1", headers: dict[str, str] | None = None
    ) -> None:
        self.client = TestClient(pages, client=(peer, 1), base_url=HOST, headers=headers, follow_redirects=False)
        self._store = store

    def sign_in(
        self, role: DashboardRole = DashboardRole.ADMIN, name: str = "ann@example.com", **more: Any
    ) -> "Browser":
        now, secret = datetime.now(UTC), sessions.new_secret()
        session = Session(
            **{"how": How.LINK, "name": name, "role": role, "created": now, "expires": now + timedelta(hours=1), **more}
        )
        self._store.write(lambda conn: sessions.start(conn, secret, session))
        self.client.cookies.set("opshelm_session", secret)
        return self

    def get(self, path: str, **headers: str) -> Any:
        return self.client.get(path, headers=headers)

    def text(self, path: str) -> str:
        answer = self.client.get(path)
        assert answer.status_code == 200, (answer.status_code, answer.headers.get("location"), answer.text)
        return answer.text

    def send(self, path: str, page: str = "/help", **fields: Any) -> Any:
        """A form with the token that stands in ``page``."""
        found = re.search(r'name="token" value="([0-9a-f]+)"', self.text(page))
        assert found
        return self.client.post(path, data={"token": found[1], **fields}, headers={"origin": HOST})


def plain(html: str) -> str:
    """What is read on a page, without its tags, white space collapsed."""
    import html as entities

    return " ".join(entities.unescape(re.sub(r"<[^>]+>", " ", html)).split())
