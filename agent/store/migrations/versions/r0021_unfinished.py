"""Indexes of the few actions and runs that each run looks for among all that are kept: sent, failed, not ended."""

import sqlalchemy as sa
from alembic import op

revision = "0021"
down_revision = "0020"

_UNSETTLED, _OPEN = sa.text("state = 'sent' OR state = 'failed'"), sa.text("ended IS NULL")


def upgrade() -> None:
    op.create_index(
        "ix_actions_unsettled", "actions", ["state", "done_at"], sqlite_where=_UNSETTLED, postgresql_where=_UNSETTLED
    )
    op.create_index("ix_runs_open", "runs", ["id"], sqlite_where=_OPEN, postgresql_where=_OPEN)
