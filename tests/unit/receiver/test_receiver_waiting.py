"""Many writes finished by other threads: every waiter gets its own answer or error, and cancelled ones harm nobody."""

import asyncio
import threading
from concurrent.futures import Future

from agent.receiver.commit_wakeup import CommitWakeups


def test_every_waiter_gets_its_own_answer_whoever_finishes_it() -> None:
    async def main() -> list[object]:
        waiting = CommitWakeups(asyncio.get_running_loop())
        futures: list[Future[int]] = [Future() for _ in range(400)]
        tasks = [asyncio.create_task(waiting.wait(future)) for future in futures]
        await asyncio.sleep(0)

        def finish(part: list[Future[int]], start: int) -> None:
            for n, future in enumerate(part):
                if (start + n) % 10 == 0:
                    future.set_exception(ValueError(start + n))
                else:
                    future.set_result(start + n)

        threads = [threading.Thread(target=finish, args=(futures[k : k + 100], k)) for k in range(0, 400, 100)]
        for thread in threads:
            thread.start()
        return list(await asyncio.wait_for(asyncio.gather(*tasks, return_exceptions=True), 10))

    for n, answer in enumerate(asyncio.run(main())):
        assert answer.args == (n,) if isinstance(answer, ValueError) else answer == n
        assert isinstance(answer, ValueError) == (n % 10 == 0)


def test_one_wake_up_serves_all_that_finished_before_the_loop_looked() -> None:
    async def main() -> int:
        loop = asyncio.get_running_loop()
        waiting = CommitWakeups(loop)
        futures: list[Future[int]] = [Future() for _ in range(50)]
        tasks = [asyncio.create_task(waiting.wait(future)) for future in futures]
        await asyncio.sleep(0)
        calls = 0
        real = loop.call_soon_threadsafe

        def counted(*args: object) -> object:
            nonlocal calls
            calls += 1
            return real(*args)  # type: ignore[arg-type]

        loop.call_soon_threadsafe = counted  # type: ignore[method-assign,assignment]
        for n, future in enumerate(futures):
            future.set_result(n)
        assert await asyncio.gather(*tasks) == list(range(50))
        return calls

    assert asyncio.run(main()) == 1


def test_a_cancelled_waiter_does_not_stop_the_others() -> None:
    async def main() -> int:
        waiting = CommitWakeups(asyncio.get_running_loop())
        gone: Future[int] = Future()
        there: Future[int] = Future()
        left = asyncio.create_task(waiting.wait(gone))
        stays = asyncio.create_task(waiting.wait(there))
        await asyncio.sleep(0)
        left.cancel()
        await asyncio.sleep(0)
        gone.set_result(1)
        there.set_result(2)
        assert not gone.cancelled()
        return await asyncio.wait_for(stays, 60)

    assert asyncio.run(main()) == 2
