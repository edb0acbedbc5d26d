"""How an event is put into bytes, by the name a subscription chose.

- A format turns (message id, event) into a body and a content type. It is a pure
  function: no I/O, no clock.
- The bytes are made once, when the event is stored, and frozen: what is signed,
  sent and shown is the same on every attempt.
- A format that cannot express an event raises ``RenderError``. The delivery is
  then stored dead with the reason; the caller's change never fails because of it.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from webhooks.errors import RenderError
from webhooks.events import Event
from webhooks.formats import standard


@dataclass(frozen=True)
class Rendered:
    """The frozen bytes of a delivery."""

    body: bytes
    content_type: str


Renderer = Callable[[str, Event], bytes]

# Each format is its renderer and its content type.
FORMATS: Mapping[str, tuple[Renderer, str]] = MappingProxyType(
    {"standard": (standard.render, standard.CONTENT_TYPE)}
)


def render(format_name: str, message_id: str, event: Event) -> Rendered:
    """Render the event in the named format.

    Raises:
        RenderError: there is no such format, or it cannot express the event.
    """
    if format_name not in FORMATS:
        raise RenderError(f"there is no format named {format_name!r}")
    renderer, content_type = FORMATS[format_name]
    try:
        return Rendered(renderer(message_id, event), content_type)
    except RenderError:
        raise
    except Exception as error:
        # Whatever a format stumbles over must not undo the caller's transaction.
        raise RenderError(
            f"format {format_name!r} failed: {type(error).__name__}"
        ) from error
