"""What msgspec decodes and converts to, got ready by one thread at a time.

msgspec 0.22 keeps what it makes of a struct with the struct before it is done: a second thread that converts to the same struct
meanwhile, for the first time, reads half of it, and the process ends with SIGSEGV. So nobody else makes decoders, but of kinds
that are made on the way and that no other thread knows yet; and what is converted to is ``ready[kind]``.
"""

import threading
from collections.abc import Callable
from types import UnionType
from typing import TYPE_CHECKING, Any, TypeVar, overload

import msgspec

T = TypeVar("T")

_one_at_a_time = threading.RLock()


@overload
def decoder(kind: type[T]) -> Callable[[bytes | str], T]: ...
@overload
def decoder(kind: UnionType) -> Callable[[bytes | str], Any]: ...
def decoder(kind: Any) -> Callable[[bytes | str], Any]:
    """JSON as ``kind``. What it answers raises msgspec's errors, and UnicodeDecodeError."""
    with _one_at_a_time:
        return msgspec.json.Decoder(kind).decode


class _Ready(dict[Any, Any]):
    """Each kind as itself. Asked for the first time, it is made ready."""

    if TYPE_CHECKING:

        def __getitem__(self, kind: type[T]) -> type[T]: ...

    def __missing__(self, kind: type[T]) -> type[T]:
        decoder(kind)
        self[kind] = kind
        return kind


ready = _Ready()
