"""Listings are temporary tables of the sweep that made them."""

from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    op.drop_table("directory_rows")
    op.drop_table("sweep_rows")
