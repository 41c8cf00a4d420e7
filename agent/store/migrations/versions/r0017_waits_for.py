"""Whose hold another person's change waits for."""

import sqlalchemy as sa
from alembic import op

revision = "0017"
down_revision = "0016"


def upgrade() -> None:
    op.add_column("holds", sa.Column("waits_for", sa.Text(), nullable=False, server_default=""))
