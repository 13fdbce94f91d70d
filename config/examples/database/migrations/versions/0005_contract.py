"""contract: the column item and the trigger go"""

from __future__ import annotations

from alembic import op

revision = "0005_contract"
down_revision = "0004_settle"

breaks_before = "0004_settle"
"""Releases written for 0002_expand write item too: the first that does without was written for 0004_settle."""


def upgrade() -> None:
    """One transaction; there is no way back from here for releases that know item."""
    op.execute("DROP TRIGGER orders_item_is_product ON orders")
    op.execute("DROP FUNCTION orders_item_is_product()")
    op.execute("ALTER TABLE orders DROP COLUMN item")
