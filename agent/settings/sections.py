"""Every setting, its type, default and reason; what the file, the docs and the checks are made from. Reads no source.

Settings made directly (``Settings(...)``) read neither files nor the environment; ``agent.settings.load`` does.
"""

from datetime import timedelta
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr, model_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from agent.model.usernames import NameRules
from agent.model.users import MAX_VALUES, Bounds
from agent.settings.values import Duration, Interval, Period, Table, TextList


class Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    @model_validator(mode="before")
    @classmethod
    def _empty_is_unset(cls, values: Any) -> Any:
        """``proxy = ""`` and an empty variable mean the same as leaving it out, where nothing is the default."""
        if not isinstance(values, dict):
            return values
        optional = {name for name, field in cls.model_fields.items() if field.default is None}
        return {name: value for name, value in values.items() if value != "" or name not in optional}


class OktaSettings(Section):
    """Where Okta is and how the agent signs in there. Without org_url the agent is a receiver alone."""

    org_url: str | None = None
    """Address of the org, such as https://example.okta.com. Plain http only on loopback."""
    app_id: str | None = None
    """Id of the OpsHelm application in Okta (0oa…)."""
    api_token: SecretStr | None = None
    """API token (SSWS). Prefer client_id and private_key: a token dies with the person who made it."""
    client_id: str | None = None
    """Client id of an OAuth service app; needs private_key."""
    private_key: SecretStr | None = None
    """Private key of the OAuth service app, PEM or JWK."""
    key_id: str | None = None
    """kid of the private key, where the app has several."""
    scopes: TextList = ("okta.apps.read", "okta.users.read", "okta.logs.read")
    """OAuth scopes to ask for; imports need okta.apps.manage and okta.users.manage too, roles.owner okta.groups.read."""
    dpop: bool = False
    """Bind tokens with DPoP. Costs 135 ms of CPU a request; only where the org demands it."""
    hook_secret: SecretStr | None = None
    """The Authorization value that Okta's event hook sends."""
    proxy: str | None = None
    """HTTP proxy towards Okta; else what HTTPS_PROXY, ALL_PROXY and NO_PROXY say."""
    ca_file: str | None = None
    """Certificate authorities to trust towards Okta, PEM; the system's when unset."""
    connect_timeout: Period = timedelta(seconds=10)
    """For each try: how long Okta may take to accept a connection."""
    read_timeout: Period = timedelta(seconds=60)
    """For each try: the longest silence in an answer."""
    max_retries: Annotated[int, Field(ge=0, le=20)] = 5
    """Tries after the first, for reads that met a 429, a 5xx or a network error; writes are not repeated blindly."""
    max_wait: Duration = timedelta(minutes=15)
    """The longest that one run waits for Okta's limits in all; then it ends as incomplete."""
    budget_share: Annotated[float, Field(gt=0, le=1)] = 0.8
    """Share of what Okta's rate-limit headers say is left that the agent uses before it waits."""

    @property
    def configured(self) -> bool:
        return bool(self.org_url)


class DirectorySettings(Section):
    """The OpsHelm side."""

    backend: Literal["sql", "scim"] = "sql"
    """sql: the embedded directory; scim: a remote OpsHelm with a SCIM 2.0 endpoint."""
    base_url: str | None = None
    """SCIM base address of the remote OpsHelm, with backend = "scim"."""
    api_key: SecretStr | None = None
    """API key of the remote OpsHelm."""
    owners: TextList = ()
    """userNames of the account's owners, where the remote shows no roles."""
    ca_file: str | None = None
    """Certificate authorities to trust towards the remote, PEM."""
    max_per_second: Annotated[float, Field(gt=0)] = 25.0
    """Calls a second to the remote, over all; lower it where the remote answers 429."""
    concurrency: Annotated[int, Field(ge=1, le=64)] = 4
    """Calls to the remote at the same time, at most."""
    timeout: Period = timedelta(seconds=30)
    """For each call to the remote."""
    page_size: Annotated[int, Field(ge=1, le=1000)] = 500
    """Accounts per page when the remote is listed."""


class DatabaseSettings(Section):
    """The agent's memory: SQLite in one file, or PostgreSQL."""

    url: str = "sqlite:///opshelm-agent.db"
    """sqlite:///PATH, relative to the settings file's folder, or postgresql://…; several agents need PostgreSQL."""
    pool_size: Annotated[int, Field(ge=1, le=100)] = 10
    """Connections to PostgreSQL that each process keeps; for a moment it may have two more."""
    busy_timeout: Duration = timedelta(seconds=10)
    """How long a write waits for a lock before it answers 429."""


class ServerSettings(Section):
    """Where the agent listens. TLS ends at a proxy in front of it."""

    host: str = "0.0.0.0"  # noqa: S104 - Okta must reach it; the admin port is the one kept on loopback
    """Address that Okta reaches: /scim/v2 and /hooks/okta."""
    port: Annotated[int, Field(ge=0, le=65535)] = 8765
    """Port of the receiver."""
    admin_host: str = "127.0.0.1"
    """Address of the dashboard, metrics and health."""
    admin_port: Annotated[int, Field(ge=0, le=65535)] = 8766
    """Port of the dashboard, metrics and health."""
    public_url: str | None = None
    """The receiver's address as Okta sees it, such as https://scim.example.com; never taken from the Host header."""
    trusted_proxies: TextList = ()
    """Addresses of the proxies whose X-Forwarded-For is believed, for the log."""
    workers: Annotated[int, Field(ge=1, le=16)] = 1
    """Processes that receive, the daemon among them; for reads where one core isn't enough (docs/performance.md)."""


class ReceiverSettings(Section):
    """What the SCIM receiver accepts from Okta."""

    username_is_email: bool = True
    """OpsHelm's rule: a userName is an e-mail address and equals the primary e-mail."""
    ascii_usernames: bool = True
    """Refuse userNames with characters outside ASCII (look-alikes)."""
    max_waiting: Annotated[int, Field(ge=1)] = 1000
    """Writes that may wait at once; more get 429."""
    search_time: Period = timedelta(seconds=5)
    """How long one filter may be looked for; longer ones get 400 tooMany. What Okta asks for is an index away."""
    max_values: Annotated[int, Field(ge=1, le=MAX_VALUES)] = 100
    """Values in one list of an account (e-mails, addresses); each is a row that every write and search of it costs."""
    max_text: Annotated[int, Field(ge=255, le=100_000)] = 8192
    """Characters in one value of an account; a page of 1,000 people is held in memory whole."""

    @property
    def names(self) -> NameRules:
        return NameRules(is_email=self.username_is_email, ascii_only=self.ascii_usernames)

    @property
    def bounds(self) -> Bounds:
        return Bounds(values=self.max_values, text=self.max_text)


class ScheduleSettings(Section):
    """What the daemon does by itself, and how often."""

    reconcile: Interval = timedelta(hours=1)
    """How often the daemon sweeps; "off" for never."""
    events: Interval = timedelta(seconds=30)
    """How often the System Log is read; "off" for never."""
    apply: bool = True
    """Whether the daemon applies what passes the guard; false: it only stores plans."""
    health_interval: Period = timedelta(seconds=60)
    """How often the daemon seals the journal, looks for overdue alarms and gives memory back."""


class ReconcileSettings(Section):
    """How a sweep reads and applies."""

    settle: Duration = timedelta(minutes=5)
    """How long a STAGED app user is left to Okta's own push."""
    fresh: Duration = timedelta(minutes=5)
    """Creates and reactivations whose row is older are re-read from Okta first."""
    syncing: Duration = timedelta(minutes=15)
    """How long SYNCING is taken to mean that Okta's own push is under way."""
    page_size: Annotated[int, Field(ge=1, le=500)] = 500
    """App users per page; 500 is the most that Okta gives."""
    batch: Annotated[int, Field(ge=1, le=5000)] = 500
    """Actions in one transaction; a stop or a pause is looked at between two."""
    lease_ttl: Period = timedelta(seconds=60)
    """A lease whose heartbeat hasn't changed for this long may be taken over."""


class PolicySettings(Section):
    """Where OpsHelm's customers differ in what they want."""

    suspended: Literal["keep", "deactivate"] = "keep"
    """What a suspended Okta user means for OpsHelm."""
    owner_identity: Literal["refuse", "allow"] = "refuse"
    """Whether a push may change an owner's userName or primary e-mail."""
    name_reuse: Literal["hold", "new_account"] = "hold"
    """Somebody new with a leaver's userName: wait for a person, or give them an account of their own."""


class RoleSettings(Section):
    """Okta groups that give roles in OpsHelm. Roles are given in OpsHelm alone while no group is named."""

    owner: TextList = ()
    """Names or ids of Okta groups whose members are owners, if they are assigned to the app; empty: off."""
    manage: Literal["mapped", "all"] = "mapped"
    """Owners by hand: mapped keeps them where no group ever named them; all makes members of whoever is in no group."""


class GuardSettings(Section):
    """Brakes. Strictly more than a limit trips; "of the population" counts managed active accounts."""

    deactivations_percent: Annotated[float, Field(ge=0, le=100)] = 10.0
    """Deactivations per run, of the population, between floor and cap. Directory tools ship 5 to 20 %."""
    deactivations_floor: Annotated[int, Field(ge=0)] = 5
    """Deactivations per run that always pass with 20 people or more, so that a small firm's leavers do."""
    deactivations_cap: Annotated[int, Field(ge=0)] = 200
    """Deactivations per run that never pass unseen: 10 % of 20,000 people is still a disaster."""
    window_percent: Annotated[float, Field(ge=0, le=100)] = 20.0
    """Deactivations in 24 h, push and reconcile together: stops what bleeds slowly, run by run."""
    window_floor: Annotated[int, Field(ge=0)] = 5
    """Deactivations in 24 h that always pass, if half the population is more."""
    window_cap: Annotated[int, Field(ge=0)] = 400
    """Deactivations in 24 h that never pass unseen."""
    push_percent: Annotated[float, Field(ge=0, le=100)] = 10.0
    """Pushed deactivations in 60 min: one wrong group in Okta must not lock out a company."""
    push_floor: Annotated[int, Field(ge=0)] = 3
    """Pushed deactivations in 60 min that always pass, if half the population is more."""
    push_cap: Annotated[int, Field(ge=0)] = 100
    """Pushed deactivations in 60 min that never pass unseen."""
    push_mode: Literal["hold", "alarm"] = "hold"
    """hold: 429 over the limit, Okta retries; alarm: let it through and raise an alarm."""
    identity_percent: Annotated[float, Field(ge=0, le=100)] = 2.0
    """userName and e-mail changes per run: more look like a wrong username format in Okta."""
    identity_floor: Annotated[int, Field(ge=0)] = 3
    """userName and e-mail changes per run that always pass."""
    creates_percent: Annotated[float, Field(ge=0)] = 20.0
    """Creates and reactivations per run: more look like the app assigned to a wrong group."""
    creates_floor: Annotated[int, Field(ge=0)] = 20
    """Creates and reactivations per run that always pass."""
    promotions_cap: Annotated[int, Field(ge=0)] = 5
    """People whom groups make owners, per run and within 60 min: more look like a wrong group in roles.owner."""
    demotions_cap: Annotated[int, Field(ge=0)] = 5
    """Owners who become members by groups, per run and within 60 min: more look like an emptied group."""
    source_drop_percent: Annotated[float, Field(ge=0, le=100)] = 20.0
    """How much smaller than the last good sweep the source may be; Okta's own import stops at 20 % too."""
    source_drop_floor: Annotated[int, Field(ge=0)] = 5
    """How many people may be missing from it in any case: a percentage says little of a few."""
    disproved_percent: Annotated[float, Field(ge=0, le=100)] = 10.0
    """Absences that turned out wrong, of those asked; over it the whole sweep is wrong."""
    disproved_floor: Annotated[int, Field(ge=1)] = 5
    """Absences that turned out wrong before the percentage counts."""
    failed_percent: Annotated[float, Field(ge=0, le=100)] = 40.0
    """Failed actions, of those tried; over it the rest of the run waits."""
    failed_floor: Annotated[int, Field(ge=1)] = 20
    """Failed actions before the percentage counts."""
    plan_expiry: Period = timedelta(hours=24)
    """How long a held plan can be approved."""
    held_alarm: Period = timedelta(hours=4)
    """A hold older than this raises an alarm."""


class ImportSettings(Section):
    """OpsHelm accounts into Okta."""

    max_per_run: Annotated[int, Field(ge=1)] = 50
    """Accounts that one import may bring into Okta."""
    activate: bool = False
    """Activate the Okta users that an import creates."""
    groups: TextList = ()
    """Ids of Okta groups that the Okta users made by an import are put into."""
    confirm_within: Duration = timedelta(minutes=30)
    """A link that Okta hasn't confirmed by then raises an alarm."""


class RetentionSettings(Section):
    """What is kept, and for how long."""

    journal: Duration = timedelta(days=730)
    """How long sealed journal blocks are kept; they are exported to export_dir before they go."""
    export_dir: str | None = None
    """Where sealed blocks are exported to; unset: nothing is ever deleted."""
    runs: Duration = timedelta(days=90)
    """How long runs, plans and findings are kept."""


class ReportSettings(Section):
    """Reports for auditors."""

    signing_key: str = "report-key.pem"
    """The installation's private key (`report key` makes it); a relative path belongs to this file's folder."""


class NotifySettings(Section):
    """Where alarms go beside the log, the metrics and the dashboard. Texts name people."""

    webhook_url: SecretStr | None = None
    """Gets a POST that Slack and its likes show: alarm opened, alarm closed, run failed."""
    webhook_secret: SecretStr | None = None
    """Signs it: HMAC-SHA256 of timestamp, dot and body, in X-OpsHelm-Signature."""
    smtp_host: str | None = None
    """Mail server; needs mail_from and mail_to."""
    smtp_port: Annotated[int, Field(ge=1, le=65535)] = 587
    """Its port."""
    smtp_tls: Literal["starttls", "tls", "none"] = "starttls"
    """How the connection is encrypted; none for a relay on this machine."""
    smtp_user: str | None = None
    """User name there, where it wants one."""
    smtp_password: SecretStr | None = None
    """Password there."""
    ca_file: str | None = None
    """Certificate authorities to trust towards mail server, webhook and heartbeat, PEM; the system's when unset."""
    mail_from: str | None = None
    """Sender of the mails."""
    mail_to: TextList = ()
    """Who gets them."""
    apprise_urls: SecretStr | None = None
    """Addresses for Apprise, separated by spaces; needs the extra: opshelm-okta-agent[apprise]."""
    heartbeat_url: SecretStr | None = None
    """Asked at each sweep's begin (/start) and end (as it is when it went well, else /EXIT_CODE), as Healthchecks wants it."""


class DashboardSettings(Section):
    """The pages on the admin port, and who may sign in to them. A one-time link on the agent's own machine needs no setting."""

    enabled: bool = True
    """Whether there are pages; metrics and health are there without them. Needs a restart."""
    public_url: str | None = None
    """The pages' address as browsers see it, such as https://agent.example.com, where a proxy is in front of the admin port."""
    issuer: str | None = None
    """Who signs people in with OpenID Connect; okta.org_url when unset."""
    client_id: str | None = None
    """Client id of an OIDC web app in Okta; its redirect URI is public_url + /sign-in/okta/done."""
    client_secret: SecretStr | None = None
    """Its client secret; unset for an app that has none. PKCE is used in any case."""
    roles_claim: str = "groups"
    """The claim of Okta's ID token that roles follow from."""
    admins: TextList = ()
    """Values of that claim, such as names of groups, that may do everything, API keys too."""
    operators: TextList = ()
    """Values that may see everything, and decide about plans, holds, people and imports."""
    viewers: TextList = ()
    """Values that may see everything. Who has none of all these values is not let in."""
    password_hash: SecretStr | None = None
    """For emergencies: made by opshelm-agent dashboard password. Whoever knows the password is admin."""
    session: Period = timedelta(hours=8)
    """How long a sign-in lasts."""
    second_person: bool = False
    """Whether a plan (an import's too) or hold that somebody approves here waits until somebody else approves it too."""


class LogSettings(Section):
    """The daemon's log, on standard error."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    """Least level that is logged; the Okta SDK's own log stays off, it prints tokens."""
    format: Literal["json", "text"] = "json"
    """json for machines, text for people."""


class Settings(BaseSettings):
    """All of them. One agent serves one Okta app and one OpsHelm account."""

    model_config = SettingsConfigDict(
        env_prefix="OPSHELM_",
        env_nested_delimiter="__",
        # Lists and tables arrive as text and are read by agent.settings.values, which reports errors with the rest.
        enable_decoding=False,
        extra="forbid",
        frozen=True,
        validate_default=False,
    )

    okta: OktaSettings = OktaSettings()
    directory: DirectorySettings = DirectorySettings()
    database: DatabaseSettings = DatabaseSettings()
    server: ServerSettings = ServerSettings()
    receiver: ReceiverSettings = ReceiverSettings()
    schedule: ScheduleSettings = ScheduleSettings()
    reconcile: ReconcileSettings = ReconcileSettings()
    policy: PolicySettings = PolicySettings()
    roles: RoleSettings = RoleSettings()
    guard: GuardSettings = GuardSettings()
    mapping: Table = {}
    """App profile attribute → SCIM path, on top of the default mapping; "" stops comparing an attribute."""
    imports: ImportSettings = ImportSettings()
    retention: RetentionSettings = RetentionSettings()
    reports: ReportSettings = ReportSettings()
    notify: NotifySettings = NotifySettings()
    dashboard: DashboardSettings = DashboardSettings()
    log: LogSettings = LogSettings()

    def changed_since(self, old: "Settings") -> list[str]:
        """Names of the settings that differ, such as ``guard.push_floor``; never their values."""
        found: list[str] = []
        for section in type(self).model_fields:
            mine, theirs = getattr(self, section), getattr(old, section)
            if isinstance(mine, BaseModel):
                names = type(mine).model_fields
                found += [f"{section}.{name}" for name in names if getattr(mine, name) != getattr(theirs, name)]
            elif mine != theirs:
                found.append(section)
        return found

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Only what is passed in: sources are merged in load, which knows where each value came from."""
        del settings_cls, env_settings, dotenv_settings, file_secret_settings
        return (init_settings,)
