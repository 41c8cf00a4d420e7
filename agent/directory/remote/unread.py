"""Whose account is at the remote but can't be read, as its last listing showed. Nobody of these is made anew.

A person is known by whatever can still be told: the account's id, the Okta id that the store links to it, its externalId or
its userName. Remembers only; it asks nobody.
"""

import threading
from collections.abc import Iterable, Mapping

from agent.directory.remote.listing import Problem
from agent.model.users import identity_key


class Unread:
    """Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._by_id: dict[str, Problem] = {}
        self._by_okta_id: dict[str, Problem] = {}
        self._by_name: dict[str, Problem] = {}

    def note(self, problems: Iterable[Problem], linked: Mapping[str, str]) -> None:
        """After a whole listing. ``linked``: account → Okta id, as the store has them."""
        unread = [problem for problem in problems if not problem.duplicate]
        ids = {problem.id: problem for problem in unread if problem.id}
        names = {identity_key(problem.login): problem for problem in unread if problem.login}
        okta_ids = {}
        for problem in unread:
            # The link wins over what the remote keeps.
            okta_id = linked.get(problem.id) or problem.okta_id
            if okta_id:
                okta_ids[okta_id] = problem
        with self._lock:
            self._by_id, self._by_okta_id, self._by_name = ids, okta_ids, names

    def of(self, *, user_name: str, okta_id: str | None, directory_id: str | None = None) -> Problem | None:
        """The account that may be this person's. ``directory_id``: the one that Okta's app user names."""
        with self._lock:
            return (
                self._by_okta_id.get(okta_id or "")
                or self._by_name.get(identity_key(user_name))
                or self._by_id.get(directory_id or "")
            )
