"""Runs migrations against the database of alembic.ini: one process at a time, and never in users' way for long."""

from __future__ import annotations

from alembic import context
from alembic.util import CommandError
from sqlalchemy import create_engine, pool, text

LOCK_TIMEOUT = "2s"
"""A migration that waits for a table's lock makes all who come after it wait: it gives up soon, and is tried again."""
ONE_AT_A_TIME = 7_410_331
"""An advisory lock of this number is held while a migration runs. A hook can outlive a deployer that was killed."""


def run() -> None:
    """Raises CommandError when another migration runs."""
    url = context.config.get_main_option("sqlalchemy.url") or ""
    settings = {"options": f"-c lock_timeout={LOCK_TIMEOUT}", "application_name": "migrations"}
    engine = create_engine(url, poolclass=pool.NullPool, connect_args=settings)
    with engine.connect() as connection:
        if not connection.scalar(text("SELECT pg_try_advisory_lock(:key)"), {"key": ONE_AT_A_TIME}):
            raise CommandError("another migration runs: see pg_stat_activity, application_name migrations")
        connection.commit()
        context.configure(connection=connection, transaction_per_migration=True)
        with context.begin_transaction():
            context.run_migrations()


run()
