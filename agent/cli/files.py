"""The files that commands write: whole or not at all, and for their owner alone, since people are named in them."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from agent.model.errors import UsageError


@contextmanager
def whole(file: Path) -> Iterator[IO[bytes]]:
    """What is written takes the place of ``file`` at the end. Of a device or a pipe it would do so too, so these are refused."""
    with _told(file):
        file = file.resolve()
        if file.exists() and not file.is_file():
            raise UsageError(f"{file} is no file, and one would take its place. Nothing was written.")
        partial = file.with_name(f"{file.name}.partial")
        # What an earlier command left there, or somebody else has put there, is neither kept nor followed.
        partial.unlink(missing_ok=True)
        descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as out:
            yield out
        with _told(file):
            partial.replace(file)
    finally:
        partial.unlink(missing_ok=True)


@contextmanager
def _told(file: Path) -> Iterator[None]:
    try:
        yield
    except OSError as exc:
        raise UsageError(f"{file} can't be written: {exc.strerror}") from exc
    except RuntimeError as exc:  # Path.resolve, of links in a circle
        raise UsageError(f"{file} can't be written: {exc}") from exc
