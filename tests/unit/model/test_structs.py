"""Kinds that several threads use for the first time at once."""

import re
import subprocess
import sys
from pathlib import Path

_THREADS = """
import enum, sys, threading
import msgspec
from agent.model.structs import ready

sys.setswitchinterval(1e-6)
for turn in range(300):
    colours = [enum.Enum(f"Colour{n}", {f"c{k}": f"v{k}" for k in range(10)}) for n in range(3)]
    inner = msgspec.defstruct("Inner", [("x", int, 0), ("colour", colours[0] | None, None)])
    fields = [("a", colours[0] | None, None), ("b", inner | None, None), ("c", colours[1] | None, None), ("z", int, 0)]
    kind = msgspec.defstruct("Kind", fields)
    go = threading.Event()
    threads = [threading.Thread(target=lambda: (go.wait(), msgspec.convert({"z": 1}, ready[kind]))) for _ in range(4)]
    for thread in threads:
        thread.start()
    go.set()
    for thread in threads:
        thread.join()
"""


def test_threads_that_convert_to_a_kind_for_the_first_time_at_once_do_so() -> None:
    done = subprocess.run([sys.executable, "-c", _THREADS], capture_output=True, text=True, timeout=120, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_nobody_else_makes_decoders_or_converts_to_what_may_not_be_ready() -> None:
    odd = r"json\.Decoder\([^)]|\bconvert\((?!.*\bready\[)|json\.decode\(.*type="
    ours = re.compile(r"def convert|_convert\(|super\(\)\.convert")
    places = [
        file.name
        for file in sorted((Path(__file__).parents[3] / "agent").rglob("*.py"))
        if "simulator" not in file.parts
        for line in file.read_text().splitlines()
        if re.search(odd, line) and not ours.search(line)
    ]
    # The two make the kind themselves.
    assert places == ["mapping.py", "structs.py", "calls.py"]
