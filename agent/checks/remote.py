"""Checks on a remote OpsHelm: does it answer, is the key good, does it page and search as sweeps and pushes need it, what can't it
do and what does the agent do instead. Reads only.
"""

from collections.abc import Iterator
from datetime import datetime

from agent.directory.port import Directory, RemoteFacts
from agent.model.check import Check, fail, ok, warn
from agent.model.errors import AgentError

#: Who runs ``check`` waits for it; whether a remote comes back in a minute is not the question.
_PATIENCE = 3.0


def checks(directory: Directory, now: datetime) -> Iterator[Check]:
    """Nothing where the directory is no remote one."""
    try:
        remote = directory.facts(_PATIENCE)
    except AgentError as exc:
        # An error says what is wrong, and in its next sentence what to do.
        problem, _, fix = exc.detail.partition(". ")
        yield fail("remote", problem, fix or "check directory.base_url, directory.api_key and the network")
        return
    if remote is None:
        return
    yield ok("remote", f"{remote.host} answers; {remote.accounts} accounts")
    yield from _abilities(remote)
    yield from _tried(remote)
    if remote.not_kept:
        fix = "nothing has to be done; to have it tried again at once: opshelm-agent config ask-again"
        yield warn("remote attributes", "; ".join(remote.not_kept), fix)
    yield from _certificate(remote, now)
    yield _owners(remote, known=directory.owners_known)


def _abilities(remote: RemoteFacts) -> Iterator[Check]:
    if not remote.announced:
        why = f"ServiceProviderConfig {remote.problem}" if remote.problem else "no ServiceProviderConfig"
        yield warn(
            "remote abilities",
            f"{why}: the agent tries PATCH first, and pages by index",
            "ask who runs the remote for RFC 7644 discovery",
        )
        return
    lacks = [
        what
        for missing, what in (
            (not remote.patch, "no PATCH: accounts are written whole, as they were read just before"),
            (not remote.etag, "no ETags: between the agent's read and its write somebody else's change can be lost"),
        )
        if missing
    ]
    paging = "by cursor" if remote.cursor else "by index"
    if lacks:
        yield warn("remote abilities", f"{'; '.join(lacks)}; pages {paging}", "nothing has to be done; the agent copes")
    else:
        yield ok("remote abilities", f"PATCH and ETags; pages {paging}")


def _tried(remote: RemoteFacts) -> Iterator[Check]:
    for one in remote.shortfalls:
        yield (fail if one.fails else warn)(f"remote {one.line}", one.detail, one.fix)
    short = {one.line for one in remote.shortfalls}
    if "listing" not in short:
        yield ok("remote listing", "pages begin where they were asked to, and end with the last account")
    if "search" not in short and remote.accounts:
        yield ok("remote search", "finds an account by its userName, and nobody where there is nobody")


def _certificate(remote: RemoteFacts, now: datetime) -> Iterator[Check]:
    ends, due = remote.certificate_ends, remote.certificate_due
    if ends is None or due is None:
        return
    if now > due:
        yield warn("remote certificate", f"ends {ends:%Y-%m-%d}, in {(ends - now).days} days", "renew it at the remote")
    else:
        yield ok("remote certificate", f"valid until {ends:%Y-%m-%d}")


def _owners(remote: RemoteFacts, *, known: bool) -> Check:
    names, missing = remote.owners, remote.owners_missing
    if names:
        if missing is None:
            return warn(
                "owners", f"{len(names)} named in directory.owners; they can't be searched for", "mend the search"
            )
        if missing:
            return fail(
                "owners",
                f"{missing} of {len(names)} in directory.owners have no account there",
                "correct directory.owners",
            )
        return ok("owners", f"{len(names)} named in directory.owners")
    if known:
        return ok("owners", "shown by the remote's roles")
    return fail(
        "owners",
        "the remote shows no roles and directory.owners is empty: deactivations are held, for one might be the last owner's",
        "set directory.owners to the owners' userNames, or run a reconcile first if the remote does show roles",
    )
