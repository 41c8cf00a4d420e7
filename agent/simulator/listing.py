"""Ways in which a listing of app users can be wrong, while each single read stays true (control API)."""

import random
from typing import Any
from zlib import crc32

from agent.simulator.entities import OrgAppUser
from agent.simulator.errors import require_known
from agent.simulator.state import OrgState

#: One of so many people of a page moves over the page's edge when the listing churns.
_CHURN = 20


class ListingFaults:
    """``drop`` leaves a fixed share out, the same people each time; ``churn`` moves people between the pages."""

    def __init__(self, org: OrgState) -> None:
        self._org = org
        self._drop = 0.0
        self._drop_ids: frozenset[str] = frozenset()
        self._empty = False
        self._churned: list[OrgAppUser | None] | None = None
        self._draw = random.Random(f"churn {org.settings.seed}")  # noqa: S311 - repeatable on purpose

    def configure(self, body: dict[str, Any]) -> None:
        """What is not named is switched off: ``{}`` makes the listing true again."""
        require_known(body, ("drop", "drop_ids", "empty", "churn"), "listing")
        self._drop = float(body.get("drop") or 0)
        self._drop_ids = frozenset(body.get("drop_ids") or ())
        self._empty = bool(body.get("empty"))
        self._churned = [] if body.get("churn") else None

    def rows(self, after: int, limit: int) -> list[OrgAppUser | None]:
        """The rows that this page is cut from."""
        true = self._org.app_rows
        if self._empty:
            return []
        if self._churned is None:
            return true
        if after < 0 or len(self._churned) != len(true):
            self._churned = list(true)
        elif after + 1 < len(true):
            for _ in range(max(1, limit // _CHURN)):
                shown, coming = self._draw.randrange(after + 1), self._draw.randrange(after + 1, len(true))
                rows = self._churned
                rows[shown], rows[coming] = rows[coming], rows[shown]
        return [
            None if one is None or self._org.app_users.get(one.user.id) is not one else one for one in self._churned
        ]

    def shows(self, app_user: OrgAppUser) -> bool:
        """Whether the listing holds this person at all."""
        if app_user.user.id in self._drop_ids:
            return False
        if not self._drop:
            return True
        return crc32(f"{self._org.settings.seed} {app_user.user.id}".encode()) / 2**32 >= self._drop
