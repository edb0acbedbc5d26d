"""JSON as Flask reads and writes it here: nothing that readers disagree on.

Rules:

- A key that stands twice in one object is refused, since parsers differ on which
  value counts (OWASP ASVS 1.5.3); NaN and Infinity are refused, being no JSON.
- Nesting deeper than the parser's stack is malformed, not a failure.
"""

import json
from typing import Any, NoReturn

from flask.json.provider import DefaultJSONProvider


class StrictJSONProvider(DefaultJSONProvider):
    """Refuses what is ambiguous; writes members in the order they were given."""

    sort_keys = False

    def loads(self, s: str | bytes, **kwargs: Any) -> Any:  # noqa: ANN401  # Flask's own signature
        """Parse a document.

        Raises:
            ValueError: for what is malformed or ambiguous.
        """
        try:
            return json.loads(
                s,
                object_pairs_hook=_unique,
                parse_constant=_refuse_constant,
                **kwargs,
            )
        except RecursionError as error:
            raise ValueError("nested too deeply") from error


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    document = dict(pairs)
    if len(document) != len(pairs):
        raise ValueError("a key stands twice in one object")
    return document


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")
