"""The mapping belongs to the database; ids that other clients than Okta gave fit wherever a plan or a finding names them."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    op.add_column("account", sa.Column("mapping", sa.Text(), nullable=True))
    op.add_column("account", sa.Column("mapping_version", sa.Integer(), server_default="0", nullable=False))
    op.add_column("account", sa.Column("mapping_seq", sa.BigInteger(), nullable=True))
    # It covers more than it did: whoever starts next says which one it is.
    op.execute("UPDATE account SET mapping_hash = NULL")
    for table in ("actions", "findings", "attention"):
        with op.batch_alter_table(table) as batch:
            batch.alter_column("okta_id", existing_type=sa.String(length=64), type_=sa.String(length=255))
