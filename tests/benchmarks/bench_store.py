"""How fast the store and the embedded directory are by themselves. Run: python tests/benchmarks/bench_store.py [PEOPLE]"""

import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime

from agent.directory.port import Draft, WriteContext
from agent.directory.sql import SqlDirectory
from agent.model.codes import Source
from agent.model.users import Enterprise, MultiValue, Name, Profile
from agent.settings import DatabaseSettings, GuardSettings, Settings
from agent.store.engine import Store

SUBMITTERS = 32
CONTEXT = WriteContext(actor="bench", source=Source.PUSH, request_id="r-1")


def draft(number: int, *, title: str = "Engineer") -> Draft:
    name = f"person{number}@example.com"
    profile = Profile(
        name=Name(given_name="Pat", family_name=f"Number{number}", formatted=f"Pat Number{number}"),
        display_name=f"Pat Number{number}",
        title=title,
        locale="en-US",
        timezone="Europe/Berlin",
        emails=(MultiValue(value=name, type="work", primary=True),),
        phone_numbers=(MultiValue(value="+1 555 0100", type="work", primary=True),),
        enterprise=Enterprise(employee_number=str(number), department="Operations", organization="Example"),
    )
    return Draft(user_name=name, profile=profile, okta_id=f"00u{number:017d}")


def together(count: int, call: Callable[[int], object]) -> tuple[float, float]:
    """Calls a second and the 99th percentile in ms, from SUBMITTERS threads that each wait for their answer."""
    times: list[float] = []

    def run(start: int) -> None:
        for number in range(start, count, SUBMITTERS):
            began = time.perf_counter()
            call(number)
            times.append(time.perf_counter() - began)

    threads = [threading.Thread(target=run, args=(n,)) for n in range(SUBMITTERS)]
    began = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return count / (time.perf_counter() - began), statistics.quantiles(times, n=100)[98] * 1000


def alone(count: int, call: Callable[[int], object]) -> float:
    began = time.perf_counter()
    for number in range(count):
        call(number)
    return count / (time.perf_counter() - began)


def pipelined(count: int, submit: Callable[[int], object]) -> float:
    """Calls a second with SUBMITTERS in flight from one thread, as an event loop does it."""
    slots = threading.Semaphore(SUBMITTERS)
    began = time.perf_counter()
    for number in range(count):
        slots.acquire()
        submit(number).add_done_callback(lambda f: (f.result(), slots.release()))  # type: ignore[attr-defined]
    for _ in range(SUBMITTERS):
        slots.acquire()
    return count / (time.perf_counter() - began)


def main(people: int = 10_000) -> None:
    now = datetime.now(UTC)
    with tempfile.TemporaryDirectory() as folder:
        url = sys.argv[2] if len(sys.argv) > 2 else f"sqlite:///{folder}/bench.db"
        store = Store.open(DatabaseSettings(url=url))
        directory = SqlDirectory(store, Settings(guard=GuardSettings(push_mode="alarm")))
        rate, p99 = together(people, lambda n: directory.create(draft(n), CONTEXT, now).result())
        print(f"create, durable, {SUBMITTERS} threads   {rate:10,.0f}/s   p99 {p99:.1f} ms")
        rate = pipelined(people, lambda n: directory.create(draft(people + n), CONTEXT, now))
        print(f"create, durable, {SUBMITTERS} in flight {rate:10,.0f}/s")
        ids = [user.id for page in directory.everyone() for user in page]
        print(f"get by id                   {alone(people, lambda n: directory.get(ids[n])):10,.0f}/s")
        print(
            f"find by userName            {alone(people, lambda n: directory.find(user_name_key=f'person{n}@example.com')):10,.0f}/s"
        )
        print(f"page of 100 at 5,001        {alone(500, lambda n: directory.search(None, 5001, 100)):10,.0f}/s")

        def off(before: object) -> Draft:
            return Draft(user_name=before.user_name, profile=before.profile, active=False)  # type: ignore[attr-defined]

        rate = pipelined(people, lambda n: directory.modify(ids[n], off, CONTEXT, now))
        print(f"PATCH active=false          {rate:10,.0f}/s")
        rate = pipelined(
            people, lambda n: directory.modify(ids[n + people], lambda b: draft(n + people, title="Lead"), CONTEXT, now)
        )
        print(f"PUT                         {rate:10,.0f}/s")
        store.close()


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 10_000)
