"""A remote OpsHelm: links, owners, and the journal of calls that are under way."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"

#: SQLite gives rowids only to INTEGER columns.
_SERIAL = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    # By what is looked up first: a prefix of the primary key looks cheaper to SQLite and is the whole listing.
    op.drop_index("ix_directory_rows_name", "directory_rows")
    op.drop_index("ix_directory_rows_okta_id", "directory_rows")
    op.create_index("ix_directory_rows_name", "directory_rows", ["user_name_key", "sweep"], unique=False)
    op.create_index("ix_directory_rows_okta_id", "directory_rows", ["okta_id", "sweep"], unique=False)
    op.create_table(
        "remote_links",
        sa.Column("directory_id", sa.String(length=255), nullable=False),
        sa.Column("okta_id", sa.String(length=255), nullable=True),
        sa.Column("detached", sa.Boolean(), server_default=sa.text("(false)"), nullable=False),
        sa.Column("origin", sa.String(length=8), nullable=False),
        sa.Column("protected", sa.Boolean(), server_default=sa.text("(false)"), nullable=False),
        sa.Column("suspended", sa.Boolean(), server_default=sa.text("(false)"), nullable=False),
        sa.Column("hidden", sa.Boolean(), server_default=sa.text("(false)"), nullable=False),
        sa.Column("deactivated", sa.BigInteger(), nullable=True),
        sa.Column("user_name_key", sa.Text(), server_default="", nullable=False),
        sa.Column("written", sa.BigInteger(), nullable=True),
        sa.Column("state", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("directory_id"),
        sa.UniqueConstraint("okta_id"),
    )
    op.create_index("ix_remote_links_name", "remote_links", ["user_name_key"], unique=False)
    op.create_index("ix_remote_links_written", "remote_links", ["written"], unique=False)
    op.create_table(
        "remote_owners",
        sa.Column("directory_id", sa.String(length=255), nullable=False),
        sa.Column("user_name", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("directory_id"),
    )
    op.create_table(
        "intents",
        sa.Column("id", _SERIAL, autoincrement=True, nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("holder", sa.String(length=36), nullable=False),
        sa.Column("state", sa.String(length=8), nullable=False),
        sa.Column("ended", sa.BigInteger(), nullable=True),
        sa.Column("directory_id", sa.String(length=255), nullable=True),
        sa.Column("okta_id", sa.String(length=255), nullable=True),
        sa.Column("user_name_key", sa.Text(), nullable=False),
        sa.Column("window_id", sa.BigInteger(), nullable=True),
        sa.Column("ends_owner", sa.Boolean(), server_default=sa.text("(false)"), nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_intents_directory_id", "intents", ["directory_id"], unique=False)
    op.create_index("ix_intents_state", "intents", ["state", "id"], unique=False)
