"""Execution options that say what a connection is used for."""

from typing import Final

#: It only reads, and each of its statements by itself: there is no transaction.
READS: Final = "stagegate_reads"
#: It changes something.
WRITES: Final = "stagegate_writes"
#: How many seconds it waits for a lock, where that is less than usual.
PATIENCE: Final = "stagegate_patience"
#: It changes the schema, and may take as long as it takes.
UNLIMITED: Final = "stagegate_unlimited"
#: It reads what was there at one instant, in however many statements.
SNAPSHOT: Final = "stagegate_snapshot"
