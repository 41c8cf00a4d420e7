"""What a write needs besides what it writes: the settings' policy, and the transaction that it is part of. Decides nothing."""

from datetime import datetime
from typing import NamedTuple

from msgspec import Struct
from sqlalchemy import Connection

from agent.directory.port import WriteContext
from agent.model.mapping import Mapping
from agent.settings import GuardSettings, PolicySettings, ReceiverSettings, Settings
from agent.store import account
from agent.store.account import Account


class Policy(Struct, frozen=True, kw_only=True):
    """What the guarded write goes by, made once from the settings."""

    guard: GuardSettings = GuardSettings()
    policy: PolicySettings = PolicySettings()
    receiver: ReceiverSettings = ReceiverSettings()
    mapping: Mapping

    @classmethod
    def of(cls, settings: Settings) -> "Policy":
        return cls(
            guard=settings.guard, policy=settings.policy, receiver=settings.receiver, mapping=Mapping(settings.mapping)
        )


class WriteScope(NamedTuple):
    """One write inside a transaction that has locked the account row: who writes and why, when, and by which policy."""

    conn: Connection
    #: The account row as it is by now in this transaction.
    row: Account
    context: WriteContext
    now: datetime
    policy: Policy

    @classmethod
    def locked(cls, conn: Connection, context: WriteContext, now: datetime, policy: Policy) -> "WriteScope":
        return cls(conn, locked_account(conn, policy), context, now, policy)


def locked_account(conn: Connection, policy: Policy) -> Account:
    """The account row, locked; OtherMapping where somebody has changed the mapping, for what is written now would be wrong."""
    row = account.lock(conn)
    account.require_mapping(row, policy.mapping)
    return row
