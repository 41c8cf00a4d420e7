"""A key's last four characters, so that it can be told from another."""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"


def upgrade() -> None:
    op.add_column("api_keys", sa.Column("last_four", sa.String(4), nullable=True))
