"""Accounts on their way into Okta."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    op.create_table(
        "imports",
        sa.Column("directory_id", sa.String(length=255), nullable=False),
        sa.Column("login", sa.Text(), nullable=False),
        sa.Column("state", sa.String(length=8), nullable=False),
        sa.Column("okta_id", sa.String(length=64), nullable=True),
        sa.Column("made", sa.Boolean(), server_default=sa.text("(false)"), nullable=False),
        sa.Column("waits", sa.Boolean(), server_default=sa.text("(false)"), nullable=False),
        sa.Column("plan_id", sa.Integer(), nullable=True),
        sa.Column("intended", sa.BigInteger(), nullable=False),
        sa.Column("linking_since", sa.BigInteger(), nullable=True),
        sa.Column("asked", sa.BigInteger(), nullable=True),
        sa.Column("ended", sa.BigInteger(), nullable=True),
        sa.Column("error", sa.Text(), server_default="", nullable=False),
        sa.PrimaryKeyConstraint("directory_id"),
    )
    op.create_index("ix_imports_state", "imports", ["state"], unique=False)
