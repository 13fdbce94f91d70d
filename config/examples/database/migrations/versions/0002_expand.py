"""expand: the new column product beside item, and a trigger that keeps the two equal"""

from __future__ import annotations

from alembic import op

revision = "0002_expand"
down_revision = "0001_orders"


def upgrade() -> None:
    """One transaction: from the moment that the column is there, no row is written without the trigger.

    A column without a default is added without a look at the rows (PostgreSQL's documentation of ALTER TABLE, Notes).
    """
    op.execute("ALTER TABLE orders ADD COLUMN product text")
    op.execute(
        """
        CREATE FUNCTION orders_item_is_product() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            IF TG_OP = 'INSERT' THEN
                NEW.product := coalesce(NEW.product, NEW.item);
                NEW.item := coalesce(NEW.item, NEW.product);
            ELSIF NEW.product IS DISTINCT FROM OLD.product THEN
                NEW.item := NEW.product;
            ELSIF NEW.item IS DISTINCT FROM OLD.item THEN
                NEW.product := NEW.item;
            END IF;
            RETURN NEW;
        END
        $$
        """
    )
    op.execute(
        "CREATE TRIGGER orders_item_is_product BEFORE INSERT OR UPDATE ON orders "
        "FOR EACH ROW EXECUTE FUNCTION orders_item_is_product()"
    )
