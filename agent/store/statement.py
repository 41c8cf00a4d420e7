"""Statements of the hot path: SQLAlchemy Core compiled once for each dialect, run on the driver's own cursor.

Not for statements whose shape depends on data; those go through ``Connection.execute``. Results are plain tuples with
times as microseconds and booleans as the driver gives them; parameters are given in the same raw form.
"""

from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import Connection
from sqlalchemy.engine import Dialect
from sqlalchemy.sql.expression import Executable

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


class Fixed:
    """One statement with named parameters. What it raises are the driver's errors; Store translates them."""

    __slots__ = ("_compiled", "_statement")

    def __init__(self, statement: Executable) -> None:
        self._statement = statement
        self._compiled: dict[str, tuple[str, dict[str, Any], list[str] | None]] = {}

    def __call__(self, conn: Connection, **params: Any) -> Any:
        """The driver's cursor."""
        sql, constants, order = self._compiled.get(conn.dialect.name) or self._compile(conn.dialect)
        values = {**constants, **params} if constants else params
        return driver(conn).execute(sql, values if order is None else [values[name] for name in order])

    def many(self, conn: Connection, rows: list[dict[str, Any]]) -> None:
        """The statement once for each row."""
        sql, constants, order = self._compiled.get(conn.dialect.name) or self._compile(conn.dialect)
        whole = [{**constants, **row} for row in rows] if constants else rows
        given: Any = whole if order is None else [[row[name] for name in order] for row in whole]
        driver(conn).cursor().executemany(sql, given)

    def _compile(self, dialect: Dialect) -> tuple[str, dict[str, Any], list[str] | None]:
        compiled = self._statement.compile(dialect=dialect)  # type: ignore[attr-defined]
        constants = {name: value for name, value in compiled.params.items() if value is not None}
        # sqlite3 wants values in order, psycopg by name.
        order = compiled.positiontup
        self._compiled[dialect.name] = found = (str(compiled), constants, order)
        return found


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
