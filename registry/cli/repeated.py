"""What a command says that an earlier one had carried out, by the same idempotency key.

Rules:

- Nothing changed now, and the exit code is that of what was done then.
- What was done is told with its time, and so is where the version is now: others may
  have moved it since. A version that is gone, or cannot be looked up, is in no stage.
"""

from collections.abc import Callable

from registry.cli.client_command import Connection
from registry.client import ModelVersion
from registry.client.types import JsonObject
from registry.errors import RegistryError


def tell_repeated(
    to: Connection,
    then: ModelVersion,
    done: str,
    document: Callable[[JsonObject], JsonObject],
) -> None:
    """Say what was ``done`` to a version then, and where it is now.

    ``document`` makes what is printed as JSON of the version as it is now.
    """
    to.output.note(
        "Nothing changed now: an earlier command with this idempotency key did this"
        " already."
    )
    now: JsonObject = {**then.raw, "stage": None, "status": None}
    try:
        version = to.client.as_it_is_now(then)
    except RegistryError as error:
        where = f"where it is now is not known ({error})"
    else:
        where = f"it is in {version.stage} now" if version else "it is gone now"
        now = version.raw if version else now
    to.output.done({**document(now), "replayed": True}, f"{done}; {where}.")
