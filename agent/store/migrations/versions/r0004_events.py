"""Events of Okta that were met already, and pushes of Okta that failed."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    op.create_table(
        "events_seen",
        sa.Column("uuid", sa.String(length=64), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("uuid"),
    )
    op.create_index("ix_events_seen_at", "events_seen", ["at"], unique=False)
    op.create_table(
        "push_failures",
        sa.Column("okta_id", sa.String(length=64), nullable=False),
        sa.Column("event_type", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("healed", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("okta_id"),
    )
