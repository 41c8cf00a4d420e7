"""Statements of the hot path: SQLAlchemy Core compiled once for each dialect, run on the driver's own cursor.

Not for statements whose shape depends on data; those go through ``Connection.execute``. Results are plain tuples with
times as microseconds and booleans as the driver gives them; parameters are given in the same raw form.
"""

from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime, timedelta
from operator import itemgetter
from typing import Any, NamedTuple, TypeVar

from msgspec import Struct
from sqlalchemy import Connection
from sqlalchemy.engine import Dialect
from sqlalchemy.sql.expression import Executable

T = TypeVar("T", bound=Struct)

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


class _Compiled(NamedTuple):
    sql: str
    #: What the statement itself binds, a limit for instance.
    constants: dict[str, Any]
    #: All values as the driver takes them: in order for sqlite3, by name for psycopg.
    arranged: Callable[[dict[str, Any]], Any]


class Fixed:
    """One statement with named parameters. What it raises are the driver's errors; Store translates them."""

    __slots__ = ("_compiled", "_statement")

    def __init__(self, statement: Executable) -> None:
        self._statement = statement
        self._compiled: dict[str, _Compiled] = {}

    def __call__(self, conn: Connection, **params: Any) -> Any:
        """The driver's cursor."""
        sql, constants, arranged = self._compiled.get(conn.dialect.name) or self._compile(conn.dialect)
        if constants:
            params = {**constants, **params}
        return driver(conn).execute(sql, arranged(params))

    def many(self, conn: Connection, rows: list[dict[str, Any]]) -> None:
        """The statement once for each row."""
        sql, constants, arranged = self._compiled.get(conn.dialect.name) or self._compile(conn.dialect)
        whole = [{**constants, **row} for row in rows] if constants else rows
        driver(conn).cursor().executemany(sql, [arranged(row) for row in whole])

    def _compile(self, dialect: Dialect) -> _Compiled:
        compiled = self._statement.compile(dialect=dialect)  # type: ignore[attr-defined]
        constants = {name: value for name, value in compiled.params.items() if value is not None}
        found = _Compiled(str(compiled), constants, _arranging(compiled.positiontup))
        self._compiled[dialect.name] = found
        return found


def _arranging(order: Sequence[str] | None) -> Callable[[dict[str, Any]], Any]:
    if order is None:
        return lambda values: values
    if len(order) > 1:
        return itemgetter(*order)
    # Of a single name, itemgetter gives no tuple.
    return lambda values: tuple(values[name] for name in order)


def read(kind: type[T], row: Sequence[Any], *, times: Iterable[str] = (), **how: Callable[[Any], Any]) -> T:
    """A row as the driver gave it, its columns in the order of the struct's fields; ``how`` makes a value of another kind."""
    values: dict[str, Any] = dict(zip(kind.__struct_fields__, row, strict=True))
    for name in times:
        if values[name] is not None:
            values[name] = moment(values[name])
    for name, make in how.items():
        values[name] = make(values[name])
    return kind(**values)


def driver(conn: Connection) -> Any:
    """The sqlite3 or psycopg connection below; both answer ``execute`` with a cursor."""
    return conn.connection.dbapi_connection


def micros(at: datetime) -> int:
    """Microseconds since 1970; a naive datetime is refused."""
    if at.tzinfo is None:
        raise ValueError("a naive datetime has no place in the store")
    return (at - EPOCH) // _MICROSECOND


def moment(value: int) -> datetime:
    return EPOCH + timedelta(0, 0, value)
