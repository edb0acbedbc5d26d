"""Several processes that run ``stagegate`` at once, all with the same arguments.

They are forked from one that has loaded the command, and so begin together.
"""

import os
import sys

from registry.cli import versions  # noqa: F401  # Else each would load it.
from registry.cli.main import stagegate


def main(count: str, *arguments: str) -> None:
    """End with 0 if all of them do."""
    started = []
    for _ in range(int(count)):
        process_id = os.fork()
        if not process_id:
            stagegate(arguments)
        started.append(process_id)
    sys.exit(max(os.waitpid(each, 0)[1] for each in started) > 0)


if __name__ == "__main__":
    main(*sys.argv[1:])
