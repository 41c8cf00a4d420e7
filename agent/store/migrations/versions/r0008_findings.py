"""A finding is kept once, and says since when."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    op.add_column("findings", sa.Column("first_seen", sa.BigInteger(), nullable=True))
