"""One app user as a row to compare: what is wanted, by which row of the table, and what is worth reporting. No IO."""

from collections.abc import Mapping as MappingOf
from datetime import datetime

from msgspec import Struct
from msgspec.structs import replace

from agent.model.cases import Want
from agent.model.codes import FindingCode
from agent.model.desired import Desired, DesiredRules, desire, user_status
from agent.model.errors import UNDECODABLE
from agent.model.mapping import Mapping
from agent.model.okta import NO_PROFILE, UNREADABLE, AppUser, Person
from agent.model.plan import Finding
from agent.model.usernames import NameRules
from agent.model.users import identity_key
from agent.settings import Settings

_SYNC_ERRORS = ("ERROR",)


class Projector(Struct, frozen=True, kw_only=True):
    mapping: Mapping
    rules: DesiredRules
    names: NameRules

    @classmethod
    def of(cls, settings: Settings) -> "Projector":
        reconcile = settings.reconcile
        return cls(
            mapping=Mapping(settings.mapping),
            rules=DesiredRules(settle=reconcile.settle, syncing=reconcile.syncing, suspended=settings.policy.suspended),
            names=settings.receiver.names,
        )

    def listed(
        self, app_user: AppUser, statuses: MappingOf[str, str], now: datetime
    ) -> tuple[Want, Desired, Finding | None]:
        """A row of a sweep. Who is on none of the status lists is live."""
        return self._project(app_user, statuses.get(app_user.id, "ACTIVE"), now)

    def read(self, person: Person, now: datetime) -> tuple[Want, Desired, Finding | None] | None:
        """A direct read; None where the person has no app user."""
        if person.app_user is None:
            return None
        return self._project(person.app_user, user_status(person.okta_user), now)

    def absent(self, person: Person, now: datetime) -> Desired:
        return desire(person.app_user, user_status(person.okta_user), now, self.rules)

    def _project(self, app_user: AppUser, status: str, now: datetime) -> tuple[Want, Desired, Finding | None]:
        try:
            projected = self.mapping.project_wanted(app_user)
        except UNDECODABLE:
            app_user = replace(app_user, status=UNREADABLE, profile=NO_PROFILE)
            projected = self.mapping.project_wanted(app_user)
        wanted = desire(app_user, status, now, self.rules)
        user_name = app_user.user_name
        key = identity_key(user_name)
        email, email_key = user_name, key
        finding = None
        given = projected.email
        if given is not None and given != user_name:
            given_key = identity_key(given)
            if not self.names.is_email:
                email, email_key = given, given_key
            elif given_key and given_key != key:
                detail = f"Okta's profile.email is {given}; OpsHelm's e-mail follows the userName"
                finding = _finding(FindingCode.EMAIL_DIFFERS, app_user, detail)
        elif not self.names.is_email and given is None:
            email, email_key = "", ""
        want = Want(
            okta_id=app_user.id,
            external_id=app_user.external_id or None,
            user_name=user_name,
            user_name_key=key,
            email=email,
            email_key=email_key,
            wanted=wanted.wanted,
            row=wanted.row,
            mapped=projected.mapped,
            unsaid=projected.unsaid,
            read_at=now,
            sync_error=app_user.sync_state in _SYNC_ERRORS,
        )
        if projected.no_text:
            detail = f"lists where OpsHelm keeps text are left as they are here: {', '.join(projected.no_text)}"
            finding = _finding(FindingCode.NO_TEXT, app_user, detail)
        if wanted.finding is not None:
            finding = _finding(wanted.finding, app_user, wanted.detail)
        return want, wanted, finding


def _finding(code: FindingCode, app_user: AppUser, detail: str) -> Finding:
    return Finding(code=code, login=app_user.user_name or app_user.id, detail=detail, okta_id=app_user.id)
