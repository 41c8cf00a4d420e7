"""The course of a soak, minute by minute, and its end."""

import random
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import TypeVar

import msgspec

from soak import moves, trouble, truth
from soak.stage import Stage, staged
from support.processes import document

T = TypeVar("T")
#: Of each minute; the rest is for what must hold then.
_STORMY = 40.0
_LONGEST_TROUBLE = 9.0
_SHARES = {"okta": 10, "operator": 3, "trouble": 3}
_ALL = 100_000


def soak(folder: Path, kind: str, seed: int, minutes: float, *, pause: float, say: Callable[[str], None]) -> None:
    """Raises where something doesn't hold. ``pause``: seconds between two moves, on average."""
    with staged(folder, kind, seed) as stage:
        book, running = truth.Book(), trouble.Running()
        ends = time.monotonic() + minutes * 60
        try:
            while time.monotonic() < ends:
                storm(stage, book, running, pause)
                heal(stage, running)
                truth.holds_after_a_minute(stage, book)
                say(line(stage, book, running))
            finish(stage, book)
            say(line(stage, book, running))
        except BaseException:
            stage.database.keep(folder)
            (folder / "events.json").write_bytes(msgspec.json.encode(list(stage.agents.logged())))
            (folder / "commands.json").write_bytes(msgspec.json.encode(stage.commands))
            say(f"seed {seed} on {kind}: the daemons' log and the commands are in {folder}")
            raise


def storm(stage: Stage, book: truth.Book, running: trouble.Running, pause: float) -> None:
    """People move in Okta, and beside that an operator, who takes their time, and troubles."""
    draw, ends = stage.draw, time.monotonic() + _STORMY
    while time.monotonic() < ends:
        match drawn(draw, _SHARES):
            case "okta":
                drawn(draw, moves.IN_OKTA)(stage, book)
            case "operator":
                running.begin("operator", partial(drawn(draw, moves.BY_OPERATOR), stage, book))
            case _:
                chosen = drawn(draw, trouble.TROUBLES)
                own = random.Random(draw.random())
                running.begin(chosen.__name__, partial(chosen, stage, draw.uniform(1, _LONGEST_TROUBLE), own))
        time.sleep(draw.uniform(0, 2 * pause))


def heal(stage: Stage, running: trouble.Running) -> None:
    """Everything works again; what was decided stays."""
    running.over()
    stage.org.faults()
    stage.write_settings()
    trouble.hang_up(stage)


def finish(stage: Stage, book: truth.Book) -> None:
    """The operator takes back every decision and lets everything through; then both sides come in step, and all ends."""
    moves.resume(stage, book)
    for block in list(book.blocks.values()):
        moves.unblock(stage, book, block)
    book.blocks.clear()
    moves.release_all(stage)
    stage.command("guard", "allow", "--count", str(_ALL), "--for", "2h", "--reason", "the end")
    stage.push_to("steady")
    stage.org.wait_idle(300)
    for _ in range(10):
        done = stage.command("--output", "json", "reconcile", "--apply")
        # Whom Okta's own push still gets time for is looked at again.
        if done.returncode == 0 and not any(one["code"] == "pending" for one in document(done)["findings"]):
            break
        time.sleep(1)
        moves.approve_a_plan(stage)
        moves.release_all(stage)
    truth.in_step(stage)
    truth.holds_after_a_minute(stage, book)
    for name, (code, seconds) in stage.agents.stop().items():
        assert (code, seconds < 25) == (0, True), f"{name} ended with {code} after {seconds:.0f} s"


def line(stage: Stage, book: truth.Book, running: trouble.Running) -> str:
    size = book.sizes[-1]
    answers = " ".join(f"{status}:{count}" for status, count in sorted(book.answers.items(), key=str))
    troubles = " ".join(f"{name}:{count}" for name, count in sorted(running.counted.items()))
    return (
        f"{time.strftime('%H:%M:%S')} {size.megabytes:.0f} MB {size.threads} threads {size.files} files; pushes {answers}; "
        f"{len(stage.commands)} commands, {len(book.blocks)} blocked, clock {stage.hours:+.1f} h; {troubles}"
    )


def drawn(draw: random.Random, weighted: Mapping[T, int]) -> T:
    return draw.choices(list(weighted), list(weighted.values()))[0]
