"""the table orders, with what was ordered in the column item"""

from __future__ import annotations

from alembic import op

revision = "0001_orders"
down_revision = None


def upgrade() -> None:
    """The shop's role may not change the table."""
    op.execute(
        """
        CREATE TABLE orders (
            number bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
            reference text NOT NULL,
            item text NOT NULL,
            placed_at timestamptz NOT NULL DEFAULT now()
        )
        """
    )
    op.execute("CREATE INDEX orders_reference ON orders (reference)")
    op.execute("GRANT SELECT, INSERT, UPDATE ON orders TO shop")
