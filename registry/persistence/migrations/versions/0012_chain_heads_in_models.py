"""The head of a model's audit chain moves into the model's row, which is locked anyway.

``audit_chains`` keeps the chain that is no model's.
"""

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None

_ZEROS = "0" * 64
_HEAD_OF = (
    "(SELECT {column} FROM audit_chains"
    " WHERE audit_chains.chain = 'model:' || registered_models.id)"
)


def upgrade() -> None:
    op.add_column(
        "registered_models",
        sa.Column("chain_n", sa.Integer(), nullable=False, server_default="0"),
    )
    op.add_column(
        "registered_models",
        sa.Column("chain_hash", sa.String(64), nullable=False, server_default=_ZEROS),
    )
    n, head = _HEAD_OF.format(column="n"), _HEAD_OF.format(column="hash")
    op.execute(
        f"UPDATE registered_models SET chain_n = COALESCE({n}, 0),"  # noqa: S608  # constants
        f" chain_hash = COALESCE({head}, '{_ZEROS}')"
    )
    op.execute(
        "DELETE FROM audit_chains WHERE chain IN"
        " (SELECT 'model:' || id FROM registered_models)"
    )
