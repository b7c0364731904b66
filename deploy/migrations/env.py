"""Alembic's way in: it runs on the connection that `tocsin migrate` has opened, inside its transaction."""

from __future__ import annotations

from alembic import context
from sqlalchemy import Connection

from services.dispatcher.adapters.tables import METADATA

connection = context.config.attributes.get("connection")
if not isinstance(connection, Connection):
    raise SystemExit("Run `tocsin migrate upgrade`: it locks the database while its tables change.")

context.configure(connection=connection, target_metadata=METADATA)
with context.begin_transaction():
    context.run_migrations()
