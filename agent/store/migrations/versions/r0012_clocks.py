"""The machine's clock is known to have been stepped."""

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"


def upgrade() -> None:
    op.create_table(
        "clocks",
        sa.Column("boot", sa.String(36), primary_key=True),
        sa.Column("ahead", sa.BigInteger(), nullable=False),
        sa.Column("seen", sa.BigInteger(), nullable=False),
    )
