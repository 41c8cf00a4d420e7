"""The page of settings: each as it is in force, masked, with where it came from. Changes nothing."""

from itertools import groupby

from starlette.responses import Response
from starlette.routing import Route

from agent.dashboard.metrics import Daemon
from agent.dashboard.site import Site, Visit
from agent.settings.describe import SettingLine, describe

_COLUMNS = ("name", "value", "origin", "place", "env")


def routes(site: Site, daemon: Daemon) -> list[Route]:
    def settings(site: Site, visit: Visit) -> Response:
        loaded = daemon.loaded()
        lines = describe(loaded)
        if visit.format != "html":
            return site.listing(visit, "settings", _COLUMNS, (line.row for line in lines))
        search, origin = visit.asked("search"), visit.asked("origin")
        shown = [line for line in lines if _fits(line, search, origin)]
        return site.render(
            visit,
            "settings.html",
            sections=[(name, list(rows)) for name, rows in groupby(shown, key=lambda line: line.section)],
            file=loaded.file,
            since=daemon.since(),
            digest=daemon.in_force(),
            search=search,
            origin=origin,
        )

    return site.page("/settings", settings, lists=True)


def _fits(line: SettingLine, search: str, origin: str) -> bool:
    return search.lower() in line.name.lower() and (origin != "set" or line.origin.kind != "default")
