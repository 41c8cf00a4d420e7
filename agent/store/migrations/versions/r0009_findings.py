"""A finding is kept once, and says since when."""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"


def upgrade() -> None:
    op.add_column("findings", sa.Column("first_seen", sa.BigInteger(), nullable=True))
