"""How far a run is, for whoever looks from another process."""

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"


def upgrade() -> None:
    op.add_column("runs", sa.Column("progress", sa.Text(), nullable=True))
