"""F-42, the other half: no memory left. What can't be done is refused, not half done; it goes on once there is some."""

import resource
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from agent.settings import DatabaseSettings
from agent.store.engine import Store
from support.forks import Warm
from support.invariants import check
from support.pusher import ROOMY, Pusher, login, new_key, okta_id
from support.receiver import okta_user

#: More than there is room for; the receiver takes bodies up to a megabyte.
LARGE, ROOM = 900_000, 500_000
PEOPLE = range(10, 26)


def address_space(pid: int) -> int:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[0]) * resource.getpagesize()


def test_f42_no_memory_left_is_refused_and_passes(warm: Warm, sqlite_url: str, tmp_path: Path) -> None:
    key = new_key(sqlite_url)
    daemon = warm.serve(tmp_path, ROOMY | {"OPSHELM_DATABASE__URL": sqlite_url})
    pusher = Pusher(daemon.url, key)
    assert pusher.person(1)
    limit = address_space(daemon.pid) + ROOM
    resource.prlimit(daemon.pid, resource.RLIMIT_AS, (limit, resource.RLIM_INFINITY))

    def push(number: int) -> int:
        large = okta_user(login(number), externalId=okta_id(number), unknown="x" * LARGE)
        answer = pusher.send("POST", "/Users", large)
        return answer.status if answer else 0

    with ThreadPoolExecutor(8) as pool:
        statuses = set(pool.map(push, PEOPLE))
    resource.prlimit(daemon.pid, resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    # 0: dropped before it was read. Nothing that Okta would take for a mistake of its own, and never try again.
    assert statuses <= {0, 201, 429}
    assert statuses - {201}
    for number in PEOPLE:
        made = pusher.create(number)
        assert made is not None
        assert made.status in (201, 409)
        assert len(pusher.find(number)) == 1
    assert daemon.stop() == 0
    store = Store.open(DatabaseSettings(url=sqlite_url))
    check(store, pusher.said())
    store.close()
