"""Kinds of values and options that several commands share. Loads nothing heavy before a value is read."""

import math
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from agent.model.errors import UsageError
from agent.runs.wording import LARGEST_ID

#: The longest that anybody waits for another agent's run. Seconds.
_DAY = 86_400


class SecondsType(click.FloatRange):
    """Seconds to wait. No range can refuse "nan", which is neither below nor above anything."""

    name = "number of seconds"

    def __init__(self) -> None:
        super().__init__(0, _DAY)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        seconds = float(super().convert(value, param, ctx))
        if math.isnan(seconds):
            self.fail(f"{value!r} is not a valid {self.name}.", param, ctx)
        return seconds


#: A number that the database gave. Larger ones don't fit into its columns, so they are a typing error.
ROW_ID = click.IntRange(1, LARGEST_ID)
ROW_ID.name = "number"

FILE = click.Path(dir_okay=False, path_type=Path)
EXISTING_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)


class DurationType(click.ParamType[Any, Any]):
    """``90s``, ``15m``, ``2h``, ``1d``."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        from agent.settings.values import parse_duration

        try:
            return parse_duration(value)
        except ValueError as exc:
            self.fail(str(exc), param, ctx)


class MomentType(click.ParamType[Any, Any]):
    """``2h`` ago, or a time in ISO 8601, which is UTC where it says nothing else."""

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        from agent.settings.values import parse_duration

        if isinstance(value, datetime):
            return value
        try:
            return datetime.now(UTC) - parse_duration(value)
        except (ValueError, OverflowError):
            pass
        try:
            moment = datetime.fromisoformat(value)
        except ValueError:
            self.fail(f"{value!r} is no time: write 2h, 7d or 2026-03-01T08:00.", param, ctx)
        return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


DURATION, MOMENT = DurationType(), MomentType()


def _reason(_ctx: click.Context, _param: click.Parameter, reason: str) -> str:
    """It ends in the journal; an empty one helps nobody."""
    if not reason.strip():
        raise UsageError("--reason must say why; it is kept in the journal")
    return reason.strip()


reason = click.option("--reason", default="", help="Why; kept in the journal.")
required_reason = click.option("--reason", required=True, callback=_reason, help="Why; kept in the journal.")
yes = click.option("--yes", is_flag=True, help="Don't ask on a terminal.")
as_csv = click.option("--csv", "as_csv", is_flag=True, help="As CSV, safe to open in a spreadsheet.")
wait = click.option(
    "--wait", metavar="S", type=SecondsType(), default=60.0, show_default=True, help="For another agent's run."
)
limit = click.option("--limit", type=click.IntRange(1, 10_000), default=20, show_default=True)
