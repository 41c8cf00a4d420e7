"""Runs the migrations on the connection and in the transaction of the caller (agent.store.schema). Opens nothing itself."""

from alembic import context

from agent.store.tables import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    # SQLite can't alter a column; tables are rebuilt there.
    render_as_batch=True,
    transactional_ddl=True,
    transaction_per_migration=False,
)
context.run_migrations()
