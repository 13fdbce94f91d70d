"""backfill: product of the rows that were there before it"""

from __future__ import annotations

import time

from alembic import op
from sqlalchemy import text

revision = "0003_backfill"
down_revision = "0002_expand"

BATCH = 1000
"""Rows of one transaction: their locks are held for some milliseconds."""
PAUSE = 0.02
"""Seconds between two batches, for the users' transactions and for replicas and vacuum to keep up."""

UPDATE = text(
    """
    WITH batch AS (
        SELECT number FROM orders WHERE number > :after AND product IS NULL ORDER BY number LIMIT :size
    ), filled AS (
        UPDATE orders SET product = orders.item FROM batch
        WHERE orders.number = batch.number AND orders.product IS NULL
    )
    SELECT max(number), count(*) FROM batch
    """
)


def upgrade() -> None:
    """Each batch is committed by itself. Cut off, it is run again and goes on where rows are empty.

    Rows that are written meanwhile are the trigger's: what lies behind is never empty again.
    """
    after, rows = 0, 0
    with op.get_context().autocommit_block():
        while True:
            last, count = op.get_bind().execute(UPDATE, {"after": after, "size": BATCH}).one()
            if not count:
                break
            after, rows = last, rows + count
            time.sleep(PAUSE)
    print(f"0003_backfill: {rows} rows")
