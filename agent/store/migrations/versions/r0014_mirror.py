"""A remote's accounts are rows of users; what is kept of those that no listing shows waits apart.

Every link of before waits there until a listing shows its account.
"""

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"

_MARKS = "directory_id, okta_id, detached, origin, protected, suspended, hidden, deactivated"


def upgrade() -> None:
    op.create_table(
        "mirror",
        sa.Column(
            "user_seq",
            sa.BigInteger().with_variant(sa.Integer(), "sqlite"),
            sa.ForeignKey("users.seq", ondelete="CASCADE"),
            primary_key=True,
            autoincrement=False,
        ),
        sa.Column("digest", sa.BigInteger()),
        sa.Column("etag", sa.Text()),
        sa.Column("external_id", sa.String(255)),
        sa.Column("detached", sa.Boolean(), nullable=False, server_default=sa.text("false")),
        sa.Column("shows_owner", sa.Boolean()),
        sa.Column("written", sa.BigInteger()),
    )
    op.create_index("ix_mirror_written", "mirror", ["written"])
    # In the very words of the queries, or SQLite doesn't see that it may use it.
    lite, post = sa.text("shows_owner = 1"), sa.text("shows_owner")
    op.create_index("ix_mirror_owners", "mirror", ["user_seq"], sqlite_where=lite, postgresql_where=post)
    op.create_table(
        "departed",
        sa.Column("directory_id", sa.String(255), primary_key=True),
        sa.Column("okta_id", sa.String(255)),
        sa.Column("detached", sa.Boolean(), nullable=False, server_default=sa.text("false")),
        sa.Column("origin", sa.String(8), nullable=False),
        sa.Column("protected", sa.Boolean(), nullable=False, server_default=sa.text("false")),
        sa.Column("suspended", sa.Boolean(), nullable=False, server_default=sa.text("false")),
        sa.Column("hidden", sa.Boolean(), nullable=False, server_default=sa.text("false")),
        sa.Column("deactivated", sa.BigInteger()),
    )
    op.create_index("ix_departed_okta_id", "departed", ["okta_id"])
    op.execute(f"INSERT INTO departed ({_MARKS}) SELECT {_MARKS} FROM remote_links")
    op.drop_table("remote_links")
    op.drop_table("remote_owners")
    if op.get_bind().dialect.name == "postgresql":
        # The ids are the remote's; SQLite holds nobody to a length.
        op.alter_column("users", "id", type_=sa.String(255), existing_nullable=False)
