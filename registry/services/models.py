"""A model's change, and what follows its name."""

from registry.domain.commands.models import ChangeModel, ModelState
from registry.services.commands import execute
from registry.services.subscriptions import follow_rename
from registry.services.transaction import Transaction


def change_model(tx: Transaction, changes: ChangeModel) -> ModelState:
    """Change a model; those who asked for it by its name follow. As ``ChangeModel``."""
    state = execute(tx, changes)
    if state.row.name != changes.model:
        follow_rename(tx, changes.model, state.row.name)
    return state
