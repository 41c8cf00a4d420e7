"""Checks on a remote OpsHelm: does it answer, is the key good, what can't it do and what does the agent do instead. Reads only."""

from collections.abc import Iterator
from datetime import datetime
from typing import TYPE_CHECKING

from agent.checks.check import Check, fail, ok, warn
from agent.model.errors import AgentError

if TYPE_CHECKING:
    from agent.directory.remote.directory import RemoteDirectory
    from agent.directory.remote.provider import Provider


#: Who runs ``check`` waits for it; whether a remote comes back in a minute is not the question.
_PATIENCE = 3.0


def checks(directory: "RemoteDirectory", now: datetime) -> Iterator[Check]:
    """Call it with a directory of its own: it makes that one impatient."""
    directory.transport.most_patience = _PATIENCE
    try:
        # Discovery often needs no key; a page of accounts does.
        accounts = directory.search(None, 1, 1, include_hidden=True).total
        provider = directory.provider()
    except AgentError as exc:
        # An error says what is wrong, and in its next sentence what to do.
        problem, _, fix = exc.detail.partition(". ")
        yield fail("remote", problem, fix or "check directory.base_url, directory.api_key and the network")
        return
    yield ok("remote", f"{directory.transport.host} answers; {accounts} accounts")
    yield from _abilities(provider)
    yield from _certificate(directory.transport.certificate_ends, now)
    yield _owners(directory)


def _abilities(provider: "Provider") -> Iterator[Check]:
    if not provider.announced:
        why = f"ServiceProviderConfig {provider.problem}" if provider.problem else "no ServiceProviderConfig"
        yield warn(
            "remote abilities",
            f"{why}: the agent tries PATCH first, filters, and pages by index",
            "ask who runs the remote for RFC 7644 discovery",
        )
        return
    lacks = [
        what
        for missing, what in (
            (not provider.patch, "no PATCH: accounts are written whole, as they were read just before"),
            (not provider.etag, "no ETags: between the agent's read and its write somebody else's change can be lost"),
            (not provider.filter, "no filters: to find one person the agent lists everybody, which is slow"),
        )
        if missing
    ]
    paging = "by cursor" if provider.cursor else "by index"
    if lacks:
        yield warn("remote abilities", f"{'; '.join(lacks)}; pages {paging}", "nothing has to be done; the agent copes")
    else:
        yield ok("remote abilities", f"PATCH, ETags and filters; pages {paging}")


def _certificate(ends: datetime | None, now: datetime) -> Iterator[Check]:
    if ends is None:
        return
    from agent.directory.remote.reader import CERTIFICATE_NOTICE

    left = ends - now
    if left < CERTIFICATE_NOTICE:
        yield warn("remote certificate", f"ends {ends:%Y-%m-%d}, in {left.days} days", "renew it at the remote")
    else:
        yield ok("remote certificate", f"valid until {ends:%Y-%m-%d}")


def _owners(directory: "RemoteDirectory") -> Check:
    names = directory.owners.names
    if names:
        missing = [name for name in names if directory.reader.by_user_name(name) is None]
        if missing:
            return fail(
                "owners",
                f"{len(missing)} of {len(names)} in directory.owners have no account there",
                "correct directory.owners",
            )
        return ok("owners", f"{len(names)} named in directory.owners")
    if directory.owners_known:
        return ok("owners", "shown by the remote's roles")
    return fail(
        "owners",
        "the remote shows no roles and directory.owners is empty: deactivations are held, for one might be the last owner's",
        "set directory.owners to the owners' userNames, or run a reconcile first if the remote does show roles",
    )
