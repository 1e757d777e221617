"""Alembic's entry: runs the steps on the connection that `migrations.upgrade` hands over."""

from __future__ import annotations

from alembic import context

from enrollsync.database.migrations import VERSION_TABLE

context.configure(
    connection=context.config.attributes["connection"],
    version_table=VERSION_TABLE,
    # SQLite can create tables in a transaction too; a killed migration then leaves nothing behind.
    transactional_ddl=True,
)
with context.begin_transaction():
    context.run_migrations()
