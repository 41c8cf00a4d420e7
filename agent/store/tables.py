"""The agent's tables. The schema of record is the migrations; a test holds the two together.

All times are UTC, kept as microseconds since 1970 (UtcTime). JSON is kept as canonical text.
"""

from datetime import datetime
from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    ColumnElement,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    TypeDecorator,
    UniqueConstraint,
    and_,
    literal_column,
    or_,
    text,
)
from sqlalchemy.schema import SchemaItem

from agent.store.connect import micros, moment

metadata = MetaData()
#: SQLite gives rowids only to INTEGER columns.
_Serial = BigInteger().with_variant(Integer, "sqlite")


class UtcTime(TypeDecorator[datetime]):
    """An aware datetime in, an aware UTC datetime out; naive ones are refused."""

    impl = BigInteger
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Any) -> int | None:  # noqa: ARG002
        return None if value is None else micros(value)

    def process_result_value(self, value: int | None, dialect: Any) -> datetime | None:  # noqa: ARG002
        return None if value is None else moment(value)


def _table(name: str, *parts: SchemaItem, **more: Any) -> Table:
    """Of a number that says ``autoincrement`` SQLite never gives one twice, though its row is gone."""
    numbered = any(isinstance(part, Column) and part.autoincrement is True for part in parts)
    return Table(name, metadata, *parts, sqlite_autoincrement=numbered, **more)


def _partial(name: str, where: ColumnElement[bool], *columns: Column[Any], unique: bool = False) -> None:
    """An index of some rows alone. The migrations say which for both databases; said here, it would load PostgreSQL's dialect."""
    Index(name, *columns, unique=unique, sqlite_where=where)


#: One row (id 1): the lock for every guarded write, counters, pins, brakes.
account = _table(
    "account",
    Column("id", Integer, primary_key=True),
    Column("instance", String(36), nullable=False),
    # Kept by the guarded write: accounts that are managed and active; active owners.
    Column("managed_active", Integer, nullable=False, server_default="0"),
    Column("active_owners", Integer, nullable=False, server_default="0"),
    # Accounts that SCIM shows, so that a page's total needs no count.
    Column("visible", Integer, nullable=False, server_default="0"),
    # The Okta org and app that this account belongs to; empty before the first apply.
    Column("org_id", String(64)),
    Column("app_id", String(64)),
    Column("app_label", Text),
    Column("pinned_at", UtcTime),
    Column("pinned_by", Text),
    # The mapping of all agents on this database: what users.mapped is built with, and how far.
    Column("mapping_hash", String(64)),
    Column("mapping", Text),
    Column("mapping_version", Integer, nullable=False, server_default="0"),
    Column("mapping_seq", BigInteger),
    # Set when this database is a restored copy: dry runs only until db accept-restore.
    Column("distrust", Text),
    Column("paused_at", UtcTime),
    Column("paused_by", Text),
    Column("paused_reason", Text),
    Column("last_good_sweep", UtcTime),
    Column("last_good_people", Integer),
    # The newest journal block, kept apart from the blocks: a cut-off end of the chain shows.
    Column("journal_block", Integer, nullable=False, server_default="0"),
    Column("journal_hash", String(64), nullable=False, server_default=""),
)

#: The directory: the embedded one, or what was seen of a remote. seq orders every listing, so that an insert never shifts a page.
users = _table(
    "users",
    Column("seq", _Serial, primary_key=True, autoincrement=True),
    # SQLite holds nobody to a length, and would copy the table for another one.
    Column("id", String(255).with_variant(String(36), "sqlite"), nullable=False, unique=True),
    Column("user_name", Text, nullable=False),
    Column("user_name_key", Text, nullable=False, unique=True),
    Column("email_key", Text, nullable=False, server_default=""),
    Column("okta_id", String(255), unique=True),
    Column("origin", String(8), nullable=False),
    Column("protected", Boolean, nullable=False, server_default=text("false")),
    Column("active", Boolean, nullable=False),
    Column("suspended", Boolean, nullable=False, server_default=text("false")),
    Column("hidden", Boolean, nullable=False, server_default=text("false")),
    Column("role", String(8), nullable=False),
    # Copies of profile values that filters ask for; the profile is the truth.
    Column("given_name", Text),
    Column("family_name", Text),
    Column("display_name", Text),
    # model.users.Profile as JSON.
    Column("profile", Text, nullable=False),
    # model.mapping's projection; compared with that of the sweep's row.
    Column("mapped", Text, nullable=False),
    Column("version", Integer, nullable=False),
    Column("created", UtcTime, nullable=False),
    Column("updated", UtcTime, nullable=False),
    Column("deactivated", UtcTime),
)
Index("ix_users_hidden", users.c.hidden, users.c.seq)
#: As agent.model.users.is_managed says of one.
MANAGED = or_(users.c.origin == "linked", and_(users.c.origin == "okta", users.c.okta_id.is_not(None)))

user_emails = _table(
    "user_emails",
    Column("user_seq", _Serial, ForeignKey("users.seq", ondelete="CASCADE"), primary_key=True),
    Column("position", Integer, primary_key=True),
    Column("value", Text),
    Column("value_key", Text),
    Column("type", Text),
    Column("is_primary", Boolean, nullable=False, server_default=text("false")),
    sqlite_with_rowid=False,
)
Index("ix_user_emails_value_key", user_emails.c.value_key)

runs = _table(
    "runs",
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("kind", String(16), nullable=False),  # sweep, single, import
    Column("trigger", String(32), nullable=False),  # cli, schedule, event, push, …
    Column("actor", Text, nullable=False),
    Column("dry", Boolean, nullable=False),
    Column("scope", Text, nullable=False),  # JSON list of logins; [] for all
    Column("started", UtcTime, nullable=False),
    Column("ended", UtcTime),
    Column("outcome", String(32)),
    Column("exit_code", Integer),
    Column("counts", Text),  # JSON
    Column("detail", Text),
    # While it goes on: how far it is, as JSON (agent.store.runs.RunProgress).
    Column("progress", Text),
)

_partial("ix_runs_open", runs.c.ended.is_(None), runs.c.id)

plans = _table(
    "plans",
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("run_id", Integer, ForeignKey("runs.id"), nullable=False),
    Column("kind", String(16), nullable=False),  # reconcile, import
    Column("status", String(16), nullable=False),
    Column("checksum", String(64), nullable=False),
    Column("format", String(8), nullable=False),
    Column("held", String(32)),
    Column("held_detail", Text, nullable=False, server_default=""),
    Column("population", Integer, nullable=False),
    Column("source_size", Integer, nullable=False),
    Column("scope", Text, nullable=False),
    Column("created", UtcTime, nullable=False),
    Column("expires", UtcTime, nullable=False),
    Column("decided_at", UtcTime),
    Column("decided_by", Text),
    Column("decision", Text),
)

actions = _table(
    "actions",
    Column("plan_id", Integer, ForeignKey("plans.id", ondelete="CASCADE"), primary_key=True),
    Column("n", Integer, primary_key=True),
    Column("kind", String(16), nullable=False),
    Column("state", String(10), nullable=False),
    Column("held", String(32)),
    Column("login", Text, nullable=False),
    Column("directory_id", Text),
    Column("okta_id", String(255)),
    # model.plan.Action as JSON, as planned.
    Column("body", Text, nullable=False),
    Column("error", Text, nullable=False, server_default=""),
    Column("approved", Boolean, nullable=False, server_default=text("false")),
    Column("sent_at", UtcTime),
    Column("done_at", UtcTime),
)
#: For statements that are to find these few by their index: SQLite takes it where the word is written out.
SENT, FAILED = (actions.c.state == literal_column(f"'{state}'") for state in ("sent", "failed"))
_partial("ix_actions_unsettled", or_(SENT, FAILED), actions.c.state, actions.c.done_at)

#: Each once, with the newest run of its kind that met it.
findings = _table(
    "findings",
    Column("run_id", Integer, ForeignKey("runs.id", ondelete="CASCADE"), primary_key=True),
    Column("n", Integer, primary_key=True),
    Column("code", String(32), nullable=False),
    Column("login", Text, nullable=False),
    Column("detail", Text, nullable=False),
    Column("directory_id", Text),
    Column("okta_id", String(255)),
    # When the first of these runs began.
    Column("first_seen", UtcTime),
)

#: Append only. hash is over the row's own contents; blocks chain them.
journal = _table(
    "journal",
    Column("id", _Serial, primary_key=True, autoincrement=True),
    Column("at", UtcTime, nullable=False),
    Column("kind", String(8), nullable=False),  # applied, refused, intent
    Column("verb", String(32), nullable=False),  # create, update, deactivate, …, keys create, pause, …
    Column("actor", Text, nullable=False),
    Column("source", String(16), nullable=False),
    Column("directory_id", Text),
    Column("okta_id", Text),
    Column("request_id", Text, nullable=False, server_default=""),
    Column("run_id", Integer),
    Column("plan_id", Integer),
    Column("action_n", Integer),
    Column("reason", Text, nullable=False, server_default=""),
    Column("before", Text),
    Column("after", Text),
    Column("hash", String(64), nullable=False),
    Column("block", Integer),
)
Index("ix_journal_directory_id", journal.c.directory_id)
_partial("ix_journal_unsealed", journal.c.block.is_(None), journal.c.id)

journal_blocks = _table(
    "journal_blocks",
    Column("n", Integer, primary_key=True, autoincrement=False),
    Column("sealed_at", UtcTime, nullable=False),
    # JSON list of the row ids that the block holds.
    Column("rows", Text, nullable=False),
    Column("previous", String(64), nullable=False),
    Column("hash", String(64), nullable=False),
    # Set when its rows were exported and deleted.
    Column("exported_to", Text),
)

lease = _table(
    "lease",
    Column("name", String(32), primary_key=True),
    Column("holder", Text),
    Column("heartbeat", Integer, nullable=False, server_default="0"),
    Column("fence", BigInteger, nullable=False, server_default="0"),
)

#: How far the clock of a machine is ahead of the one that nobody sets, for each boot: microseconds (agent.store.steps).
clocks = _table(
    "clocks",
    Column("boot", String(36), primary_key=True),
    Column("ahead", BigInteger, nullable=False),
    Column("seen", UtcTime, nullable=False),
)

api_keys = _table(
    "api_keys",
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("name", Text, nullable=False),
    Column("prefix", String(16), nullable=False),
    Column("sha256", String(64), nullable=False, unique=True),
    Column("scope", String(8), nullable=False),  # scim, metrics
    Column("created", UtcTime, nullable=False),
    Column("created_by", Text, nullable=False),
    Column("expires", UtcTime),
    Column("revoked", UtcTime),
    # During a roll: until when the old key lives, and since when.
    Column("grace_from", UtcTime),
    Column("last_used", UtcTime),
    Column("last_four", String(4)),
)

alarms = _table(
    "alarms",
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("code", String(32), nullable=False),
    # What it is about (plan 81, account id, key 3): one open alarm for each code and subject.
    Column("subject", Text, nullable=False),
    Column("detail", Text, nullable=False),
    Column("raised", UtcTime, nullable=False),
    Column("last_seen", UtcTime, nullable=False),
    Column("cleared", UtcTime),
    Column("delivered", UtcTime),
    # An operator has silenced it.
    Column("acked_at", UtcTime),
    Column("acked_by", Text),
    Column("ack_reason", Text),
)
_partial("ix_alarms_open", alarms.c.cleared.is_(None), alarms.c.code, alarms.c.subject, unique=True)

#: What the guard's rolling windows count: one row a deactivation, written before or with the write.
deactivations = _table(
    "deactivations",
    Column("id", _Serial, primary_key=True, autoincrement=True),
    Column("at", UtcTime, nullable=False),
    Column("source", String(16), nullable=False),
    Column("directory_id", Text, nullable=False),
    # Approved or announced ones are kept here but don't count.
    Column("exempt", Boolean, nullable=False, server_default=text("false")),
    # Running totals, this row included: a window's count is one difference, however many rows it holds.
    Column("counted", BigInteger, nullable=False),
    Column("managed", BigInteger, nullable=False),
)
Index("ix_deactivations_at", deactivations.c.at)

#: Pushed changes of userName or primary e-mail: too many of them are an alarm.
identity_changes = _table(
    "identity_changes",
    Column("id", _Serial, primary_key=True, autoincrement=True),
    Column("at", UtcTime, nullable=False),
    Column("directory_id", Text, nullable=False),
)
Index("ix_identity_changes_at", identity_changes.c.at)

#: What waits for a person's decision: one open row for each person and kind of change (agent.model.holds).
holds = _table(
    "holds",
    Column("id", _Serial, primary_key=True, autoincrement=True),
    # The account; for somebody who has none yet: "okta ID", or "login NAME". One open row for each subject and kind.
    Column("subject", Text, nullable=False),
    Column("directory_id", String(255)),
    Column("okta_id", String(255)),
    Column("login", Text, nullable=False),
    Column("kind", String(10), nullable=False),
    Column("code", String(32), nullable=False),
    Column("detail", Text, nullable=False),
    Column("wish", Text, nullable=False),
    Column("since", UtcTime, nullable=False),
    Column("opened_by", Text, nullable=False),
    Column("last_found", UtcTime, nullable=False),
    Column("tries", Integer, nullable=False, server_default="0"),
    Column("plan_id", Integer),
    Column("action_n", Integer),
    Column("decision", String(8), nullable=False),
    Column("decided_at", UtcTime),
    Column("decided_by", Text),
    Column("reason", Text, nullable=False, server_default=""),
    Column("until", UtcTime),
    Column("ended_at", UtcTime),
    Column("ended", String(8)),
    # The login of somebody whose own hold is to be decided first.
    Column("waits_for", Text, nullable=False, server_default=""),
)
_partial("ix_holds_open", holds.c.ended.is_(None), holds.c.subject, holds.c.kind, unique=True)
Index("ix_holds_ended_at", holds.c.ended_at)

#: Okta's last push about an account, changed or not: a run's older view of that person is out of date. seq counts pushes.
push_marks = _table(
    "push_marks",
    Column("directory_id", String(255), primary_key=True),
    Column("seq", BigInteger, nullable=False, index=True),
)

#: Announced deactivations (guard allow).
allowances = _table(
    "allowances",
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("directory_id", Text),  # for one person, else for anybody
    Column("count", Integer, nullable=False),
    Column("used", Integer, nullable=False, server_default="0"),
    Column("created", UtcTime, nullable=False),
    Column("expires", UtcTime, nullable=False),
    Column("actor", Text, nullable=False),
    Column("reason", Text, nullable=False),
)

#: People that the reconciler should look at alone and soon: after a refused push, an event, a hook.
attention = _table(
    "attention",
    Column("id", _Serial, primary_key=True, autoincrement=True),
    Column("okta_id", String(255)),
    Column("directory_id", String(255)),
    Column("reason", String(32), nullable=False),
    # Reason and person: asking twice is asking once.
    Column("subject", Text, nullable=False, unique=True),
    Column("not_before", UtcTime, nullable=False),
    Column("attempts", Integer, nullable=False, server_default="0"),
    Column("created", UtcTime, nullable=False),
)
Index("ix_attention_due", attention.c.not_before)

#: Where listings of changes go on: the System Log's next link.
cursors = _table(
    "cursors",
    Column("name", String(32), primary_key=True),
    Column("value", Text, nullable=False),
    Column("updated", UtcTime, nullable=False),
)

#: Of each row of users that mirrors an account of a remote: what was seen there, and what the row itself has no place for.
mirror = _table(
    "mirror",
    Column("user_seq", _Serial, ForeignKey("users.seq", ondelete="CASCADE"), primary_key=True, autoincrement=False),
    # Of the account as a listing showed it last, while the row says just that.
    Column("digest", BigInteger),
    Column("etag", Text),
    # As the remote shows it; users.okta_id is whose the account is.
    Column("external_id", String(255)),
    # Unlinked by an operator: the externalId at the remote binds nothing.
    Column("detached", Boolean, nullable=False, server_default=text("false")),
    # Whether a role there is called owner; null where no roles are shown.
    Column("shows_owner", Boolean),
    # The agent's own last write: outweighs a listing that lags behind.
    Column("written", UtcTime),
)
Index("ix_mirror_written", mirror.c.written)
_partial("ix_mirror_owners", mirror.c.shows_owner, mirror.c.user_seq)

#: What a remote turned out not to keep of an account, or to keep in another spelling.
unkept = _table(
    "unkept",
    # Its base address.
    Column("remote", String(255), primary_key=True),
    Column("attribute", String(255), primary_key=True),
    Column("how", String(16), nullable=False),
    # The remote's own, where it refused the attribute.
    Column("words", Text, nullable=False, server_default=""),
    Column("since", UtcTime, nullable=False),
    # Null: it is to be tried with the next write.
    Column("asked", UtcTime),
)

#: What the agent keeps of accounts of a remote that no listing shows: were they to come back, it is theirs again.
departed = _table(
    "departed",
    Column("directory_id", String(255), primary_key=True),
    Column("okta_id", String(255)),
    Column("detached", Boolean, nullable=False, server_default=text("false")),
    Column("origin", String(8), nullable=False),
    Column("protected", Boolean, nullable=False, server_default=text("false")),
    Column("suspended", Boolean, nullable=False, server_default=text("false")),
    Column("hidden", Boolean, nullable=False, server_default=text("false")),
    Column("deactivated", UtcTime),
)
Index("ix_departed_okta_id", departed.c.okta_id)

#: One row for each call that changes the remote, written before it; counts as done until its outcome is known.
intents = _table(
    "intents",
    Column("id", _Serial, primary_key=True, autoincrement=True),
    Column("at", UtcTime, nullable=False),
    Column("holder", String(36), nullable=False),  # the process that made the call
    Column("state", String(8), nullable=False),  # open, done, undone
    Column("ended", UtcTime),
    Column("directory_id", String(255)),  # null for a create
    Column("okta_id", String(255)),
    Column("user_name_key", Text, nullable=False),
    # A deactivation's row in deactivations; null for other calls, and once it was given back.
    Column("window_id", BigInteger),
    # It takes an active owner away.
    Column("ends_owner", Boolean, nullable=False, server_default=text("false")),
    # Before, after, how it was judged and who asked, JSON.
    Column("body", Text, nullable=False),
)
Index("ix_intents_state", intents.c.state, intents.c.id)
Index("ix_intents_directory_id", intents.c.directory_id)

#: Accounts on their way into Okta, one row each: written before the first call to Okta, kept when it is linked.
imports = _table(
    "imports",
    Column("directory_id", String(255), primary_key=True),
    Column("login", Text, nullable=False),
    # model.matching.ImportState: intended, created, linking, linked, ended.
    Column("state", String(8), nullable=False),
    # Null until Okta has said it, or a look at Okta has found it.
    Column("okta_id", String(64)),
    # The agent made the Okta user.
    Column("made", Boolean, nullable=False, server_default=text("false")),
    # Okta provisions at activation; as the last look at Okta found it.
    Column("waits", Boolean, nullable=False, server_default=text("false")),
    Column("plan_id", Integer),
    Column("intended", UtcTime, nullable=False),
    # Since when Okta should have linked it.
    Column("linking_since", UtcTime),
    # The last direct look at Okta, for those that are overdue.
    Column("asked", UtcTime),
    Column("ended", UtcTime),
    # Why it ended without a link.
    Column("error", Text, nullable=False, server_default=""),
)
Index("ix_imports_state", imports.c.state)

#: Event uuids (and deliveries) that were met already: Okta delivers more than once, and a hook and the log tell the same.
events_seen = _table("events_seen", Column("uuid", String(64), primary_key=True), Column("at", UtcTime, nullable=False))
Index("ix_events_seen_at", events_seen.c.at)

#: The newest push of Okta's that failed, one row a person, in Okta's words.
push_failures = _table(
    "push_failures",
    Column("okta_id", String(64), primary_key=True),
    Column("event_type", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("at", UtcTime, nullable=False),
    # When the agent found the person as Okta wants them after that.
    Column("healed", UtcTime),
)

#: What people outside are told, for each channel once (store/notices.py).
notices = _table(
    "notices",
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("about", String(64), nullable=False),
    Column("channel", String(16), nullable=False),
    Column("body", Text, nullable=False),
    Column("created", UtcTime, nullable=False),
    Column("due", UtcTime, nullable=False),
    Column("tries", Integer, nullable=False, server_default="0"),
    # Since when an agent is sending it.
    Column("claimed", UtcTime),
    Column("sent", UtcTime),
    Column("gave_up", UtcTime),
    Column("error", Text, nullable=False, server_default=""),
    UniqueConstraint("about", "channel"),
)
Index("ix_notices_due", notices.c.sent, notices.c.gave_up, notices.c.due)

#: Sign-ins of the dashboard that have begun: a one-time link, or the way to Okta and back. Each is taken once.
sign_ins = _table(
    "sign_ins",
    # Of the link's secret, or of the state that Okta gives back.
    Column("sha256", String(64), primary_key=True),
    Column("how", String(8), nullable=False),  # link, okta
    # For a link: who made it, and who its session is.
    Column("name", Text, nullable=False),
    Column("nonce", Text, nullable=False),
    Column("verifier", Text, nullable=False),
    # The page to go on with.
    Column("next", Text, nullable=False),
    Column("expires", UtcTime, nullable=False),
)

#: Who is signed in to the dashboard. A session that has ended is gone.
sessions = _table(
    "sessions",
    Column("sha256", String(64), primary_key=True),
    Column("how", String(8), nullable=False),  # link, okta, password
    Column("name", Text, nullable=False),
    Column("role", String(8), nullable=False),
    Column("okta_id", String(255)),
    # JSON list of what Okta said that the role follows from.
    Column("claims", Text, nullable=False),
    Column("created", UtcTime, nullable=False),
    Column("expires", UtcTime, nullable=False),
)

#: What one person has approved on a page, where a second one has to.
first_approvals = _table(
    "first_approvals",
    # Of what was approved: subject and numbers.
    Column("sha256", String(64), primary_key=True),
    Column("subject", Text, nullable=False),
    Column("numbers", Text, nullable=False),
    Column("identity", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("at", UtcTime, nullable=False),
    Column("expires", UtcTime, nullable=False),
)

#: What each entry of roles.owner means: a name is looked up once, and then it is the group that counts, whatever its name.
role_groups = _table(
    "role_groups",
    # As the setting has it.
    Column("asked", Text, primary_key=True),
    Column("group_id", String(64), nullable=False),
    # As Okta called it when a person looked last.
    Column("name", Text, nullable=False),
    # roles.manage as it was when a person saw whom the group would make owner: mapped, all; "" before.
    Column("approved", String(8), nullable=False, server_default=""),
)

#: Whom a group made owner, one row an account.
role_grants = _table(
    "role_grants",
    Column("directory_id", String(255), primary_key=True),
    Column("group_id", String(64), nullable=False),
    # For the cap: null where a person let it pass, or the account was an owner before.
    Column("given", UtcTime),
    # The group gives it no more: kept for the cap alone.
    Column("taken", UtcTime),
)

#: What the guard judged, for ``guard replay`` (agent.store.judgements).
judgements = _table(
    "judgements",
    Column("id", _Serial, primary_key=True),
    Column("at", UtcTime, nullable=False),
    # Null: a pushed deactivation.
    Column("run_id", Integer),
    Column("body", Text, nullable=False),
    # Of a run's actions: where there are any, and they are no other row's (``same``).
    Column("digest", String(64), index=True),
    Column("actions", Text),
    Column("same", BigInteger),
)
