"""Execution options that say what a connection is used for."""

from typing import Final

#: It changes something.
WRITES: Final = "stagegate_writes"
#: How many seconds it waits for a lock, where that is less than usual.
PATIENCE: Final = "stagegate_patience"
#: It changes the schema, and may take as long as it takes.
UNLIMITED: Final = "stagegate_unlimited"
