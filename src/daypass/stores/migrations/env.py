"""Alembic's entry point. It runs revisions on the connection of `migrate`, inside its transaction."""

from __future__ import annotations

from alembic import context

from daypass.stores.columns import metadata

context.configure(connection=context.config.attributes["connection"], target_metadata=metadata, transactional_ddl=True)
context.run_migrations()
