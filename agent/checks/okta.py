"""Checks on Okta's side: does it answer, is it the pinned app, does the app fit OpsHelm, what may the agent do. Reads only.

A thing that can't be read costs its own line, not the others.
"""

from collections.abc import Callable, Iterator
from datetime import datetime

from agent.checks import access, hook, mapping, people, requirements
from agent.checks.people import Exceptional
from agent.model.check import Check, fail, ok, warn
from agent.model.errors import AgentError, OktaDenied, OktaError, OktaNotFound
from agent.model.okta import App
from agent.okta_org.org import OktaOrg
from agent.settings import Settings
from agent.store.account import Account

_MAX_SKEW_SECONDS = 60


class OktaChecks:
    """``exceptions`` is filled while the lines are made."""

    def __init__(self, okta: OktaOrg, settings: Settings, account: Account, now: datetime) -> None:
        self._okta = okta
        self._settings = settings
        self._account = account
        self._now = now
        self.exceptions: list[Exceptional] = []

    def lines(self) -> Iterator[Check]:
        try:
            org_id, app = self._okta.org_id(), self._okta.app()
        except AgentError as exc:
            yield _unreachable(exc)
            return
        yield ok("okta", f"org {org_id} answers")
        yield from requirements.checks(app)
        yield _pins(org_id, app, self._account)
        yield from self._each("e-mails", self._people)
        yield from self._each("mapping", lambda: [mapping.check(self._okta.app_schema(), self._settings.mapping)])
        yield from self._each("scopes", lambda: access.checks(self._okta, self._settings, self._now))
        yield from self._each("event hook", lambda: [hook.check(self._okta, self._settings)])
        yield access.rate(self._okta, self._settings, self._account)
        yield from self._clock()

    def _people(self) -> Iterator[Check]:
        if self._settings.receiver.username_is_email:
            read = people.read(self._okta, self._settings.reconcile.page_size)
            self.exceptions = read.exceptions
            yield people.check(read)

    def _clock(self) -> Iterator[Check]:
        skew = self._okta.clock_skew()
        if skew is not None and abs(skew) > _MAX_SKEW_SECONDS:
            detail = f"this machine's clock is {abs(skew):.0f} s off Okta's"
            yield warn("clock", detail, "set up time synchronisation (NTP)")
        elif skew is not None:
            yield ok("clock", "agrees with Okta's")

    def _each(self, name: str, work: "Callable[[], Iterator[Check] | list[Check]]") -> Iterator[Check]:
        try:
            yield from work()
        except OktaError as exc:
            yield access.unless(name, exc)


def _unreachable(exc: AgentError) -> Check:
    fix = "check okta.org_url, the proxy and the network"
    if isinstance(exc, OktaDenied):
        fix = "check okta.api_token, or okta.client_id with okta.private_key and its scopes"
    elif isinstance(exc, OktaNotFound):
        fix = "check okta.app_id: the 0oa… in the address of the app's page"
    return fail("okta", exc.detail, fix)


def _pins(org_id: str, app: App, account: Account) -> Check:
    if not account.pinned:
        return warn(
            "pins", "nothing is pinned yet; the first apply pins", "opshelm-agent reconcile, then plans approve"
        )
    if (org_id, app.id) != (account.org_id, account.app_id):
        return fail(
            "pins",
            f"pinned to org {account.org_id}, app {account.app_id}; the settings lead to org {org_id}, app {app.id}",
            "correct okta.org_url and okta.app_id, or after a planned move: opshelm-agent pins accept --reason …",
        )
    if app.label != account.app_label:
        return warn("pins", "the app's label has changed since it was pinned", "look whether it is the right app")
    return ok("pins", "org and app are the pinned ones")
