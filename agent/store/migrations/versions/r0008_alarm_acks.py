"""Who has silenced an open alarm, when and why."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    op.add_column("alarms", sa.Column("acked_at", sa.BigInteger(), nullable=True))
    op.add_column("alarms", sa.Column("acked_by", sa.Text(), nullable=True))
    op.add_column("alarms", sa.Column("ack_reason", sa.Text(), nullable=True))
