"""What the guard judged, for guard replay."""

import sqlalchemy as sa
from alembic import op

revision = "0019"
down_revision = "0018"


def upgrade() -> None:
    serial = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    op.create_table(
        "judgements",
        sa.Column("id", serial, primary_key=True, autoincrement=True),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("run_id", sa.Integer()),
        sa.Column("body", sa.Text(), nullable=False),
        sa.Column("digest", sa.String(64)),
        sa.Column("actions", sa.Text()),
        sa.Column("same", sa.BigInteger()),
    )
    op.create_index("ix_judgements_digest", "judgements", ["digest"])
