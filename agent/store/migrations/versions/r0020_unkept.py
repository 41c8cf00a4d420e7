"""What a remote turned out not to keep of an account."""

import sqlalchemy as sa
from alembic import op

revision = "0020"
down_revision = "0019"


def upgrade() -> None:
    op.create_table(
        "unkept",
        sa.Column("remote", sa.String(255), primary_key=True),
        sa.Column("attribute", sa.String(255), primary_key=True),
        sa.Column("how", sa.String(16), nullable=False),
        sa.Column("words", sa.Text(), nullable=False, server_default=""),
        sa.Column("since", sa.BigInteger(), nullable=False),
        sa.Column("asked", sa.BigInteger()),
    )
