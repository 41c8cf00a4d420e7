"""One register of holds, which takes the refused pushes over; and a mark for each account that Okta has pushed about."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"

_SERIAL = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_OPEN = sa.text("ended IS NULL")
_REFUSED = """
INSERT INTO holds (subject, directory_id, okta_id, login, kind, code, detail, wish, since, opened_by, last_found, tries,
                   decision, decided_at, decided_by, reason)
SELECT directory_id, directory_id, okta_id, login, 'deactivate', 'push_burst', 'its pushed deactivation was refused',
       '{"active"\\:false}', first, 'push', last, tries,
       CASE WHEN rejected_at IS NULL THEN 'waiting' ELSE 'rejected' END, rejected_at, rejected_by, ''
FROM refused_pushes
"""


def upgrade() -> None:
    op.create_table(
        "holds",
        sa.Column("id", _SERIAL, autoincrement=True, nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("directory_id", sa.String(length=255), nullable=True),
        sa.Column("okta_id", sa.String(length=255), nullable=True),
        sa.Column("login", sa.Text(), nullable=False),
        sa.Column("kind", sa.String(length=10), nullable=False),
        sa.Column("code", sa.String(length=32), nullable=False),
        sa.Column("detail", sa.Text(), nullable=False),
        sa.Column("wish", sa.Text(), nullable=False),
        sa.Column("since", sa.BigInteger(), nullable=False),
        sa.Column("opened_by", sa.Text(), nullable=False),
        sa.Column("last_found", sa.BigInteger(), nullable=False),
        sa.Column("tries", sa.Integer(), server_default="0", nullable=False),
        sa.Column("plan_id", sa.Integer(), nullable=True),
        sa.Column("action_n", sa.Integer(), nullable=True),
        sa.Column("decision", sa.String(length=8), nullable=False),
        sa.Column("decided_at", sa.BigInteger(), nullable=True),
        sa.Column("decided_by", sa.Text(), nullable=True),
        sa.Column("reason", sa.Text(), server_default="", nullable=False),
        sa.Column("until", sa.BigInteger(), nullable=True),
        sa.Column("ended_at", sa.BigInteger(), nullable=True),
        sa.Column("ended", sa.String(length=8), nullable=True),
        sa.PrimaryKeyConstraint("id"),
        sqlite_autoincrement=True,
    )
    op.create_index(
        "ix_holds_open", "holds", ["subject", "kind"], unique=True, sqlite_where=_OPEN, postgresql_where=_OPEN
    )
    op.create_index("ix_holds_ended_at", "holds", ["ended_at"], unique=False)
    op.create_table(
        "push_marks",
        sa.Column("directory_id", sa.String(length=255), nullable=False),
        sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("directory_id"),
    )
    op.create_index("ix_push_marks_seq", "push_marks", ["seq"], unique=False)
    op.execute(_REFUSED)
    op.drop_table("refused_pushes")
