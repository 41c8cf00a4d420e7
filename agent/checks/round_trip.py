"""One SCIM request through the address that Okta uses, with a key that lives for a minute. Changes no account.

The key is made, used and ended here, and the journal says so: the hashes of the other keys can't be sent.
"""

from collections.abc import Iterator
from datetime import timedelta

from agent.checks.daemon import WebAnswer, get
from agent.model.check import Check, fail, ok, warn
from agent.model.errors import UsageError
from agent.settings import ServerSettings
from agent.store import keys
from agent.store.engine import Store
from agent.store.journal import Signature

_TIMEOUT = 10.0
_KEY_LIVES = timedelta(minutes=1)
_KEY = "check"
#: Nobody has it: the answer must be an empty list.
_PATH = "/scim/v2/Users?filter=userName%20eq%20%22nobody%40check.invalid%22&count=1"
_LIST = "urn:ietf:params:scim:api:messages:2.0:ListResponse"
_SLOW_SECONDS = 5.0


def checks(store: Store, server: ServerSettings, by: Signature, *, receiver_up: bool) -> Iterator[Check]:
    """``receiver_up``: whether the receiver answers at its own address."""
    url = server.public_url
    if not url:
        yield warn(
            "round trip",
            "server.public_url is not set, so nobody knows whether Okta reaches the receiver",
            "set server.public_url to the address in Okta's API integration",
        )
        return
    base = url.rstrip("/").removesuffix("/scim/v2")
    stranger = _get(base, "")
    if isinstance(stranger, str):
        if receiver_up:
            yield fail(
                "round trip",
                f"{base} does not answer: {stranger}",
                "look at the proxy, its certificate and the DNS name",
            )
        else:
            yield warn("round trip", f"{base} does not answer: {stranger}", "opshelm-agent serve, and run check again")
        return
    if stranger.status != 401:
        yield fail(
            "round trip",
            f"{base}/scim/v2 answers {stranger.status} to a request without a key",
            "the proxy must pass /scim/v2 on to server.port as it is",
        )
        return
    yield _with_key(store, base, by)


def _with_key(store: Store, base: str, by: Signature) -> Check:
    try:
        key, secret = store.write(lambda conn: keys.create(conn, by, name=_KEY, expires=by.at + _KEY_LIVES))
    except UsageError:
        return warn("round trip", "another check is under way", "run check again in a minute")
    try:
        answer = _get(base, secret)
    finally:
        store.write(lambda conn: keys.drop(conn, key, by))
    if isinstance(answer, str):
        return fail("round trip", f"{base} does not answer: {answer}", "look at the proxy")
    if answer.status == 401:
        return fail(
            "round trip",
            f"{base} refuses a good key",
            "the proxy must pass Authorization on, and lead to an agent with this database",
        )
    said = answer.object
    if answer.status != 200 or _LIST not in (said.get("schemas") or ()) or said.get("totalResults") != 0:
        return fail(
            "round trip", f"{base} answers {answer.status} and no SCIM list", "look at the proxy and the daemon's log"
        )
    if answer.seconds > _SLOW_SECONDS:
        return warn("round trip", f"took {answer.seconds:.1f} s", "look what slows the proxy or the database down")
    return ok("round trip", f"{base} answers in {answer.seconds * 1000:.0f} ms")


def _get(base: str, key: str) -> WebAnswer | str:
    headers = {"Accept": "application/scim+json", **({"Authorization": f"Bearer {key}"} if key else {})}
    return get(base + _PATH, headers, _TIMEOUT)
