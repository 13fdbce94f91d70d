"""settle: product is never empty, so releases can do without item"""

from __future__ import annotations

from alembic import op

revision = "0004_settle"
down_revision = "0003_backfill"


def upgrade() -> None:
    """Without a scan under a lock that stops users: the rows are checked first, while writes go on.

    SET NOT NULL believes a checked constraint (PostgreSQL's documentation of ALTER TABLE, SET NOT NULL; since 12). Each
    statement is committed by itself; cut off, they are run again from the first.
    """
    with op.get_context().autocommit_block():
        op.execute("ALTER TABLE orders DROP CONSTRAINT IF EXISTS orders_product_there")
        op.execute("ALTER TABLE orders ADD CONSTRAINT orders_product_there CHECK (product IS NOT NULL) NOT VALID")
        op.execute("ALTER TABLE orders VALIDATE CONSTRAINT orders_product_there")
        op.execute("ALTER TABLE orders ALTER COLUMN product SET NOT NULL")
        op.execute("ALTER TABLE orders DROP CONSTRAINT orders_product_there")
