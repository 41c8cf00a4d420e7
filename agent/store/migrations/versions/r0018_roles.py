"""Roles by Okta's groups: which groups are meant, and whom they made owner."""

import sqlalchemy as sa
from alembic import op

revision = "0018"
down_revision = "0017"


def upgrade() -> None:
    op.create_table(
        "role_groups",
        sa.Column("asked", sa.Text(), primary_key=True),
        sa.Column("group_id", sa.String(64), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("approved", sa.String(8), nullable=False, server_default=""),
    )
    op.create_table(
        "role_grants",
        sa.Column("directory_id", sa.String(255), primary_key=True),
        sa.Column("group_id", sa.String(64), nullable=False),
        sa.Column("given", sa.BigInteger()),
        sa.Column("taken", sa.BigInteger()),
    )
