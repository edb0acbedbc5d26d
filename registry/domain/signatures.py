"""What a model takes and gives, as MLflow writes it into ``MLmodel``.

That is YAML, of which this reads the one form that MLflow writes its signature in:
``inputs``, ``outputs`` and ``params`` below ``signature``, each JSON in single quotes,
folded into lines. Of a file that somebody wrote by hand nothing may be found.

Pure: nothing here reads a file.
"""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

#: Where MLflow puts it, at the root of the artifact.
FILE_NAME = "MLmodel"
_PARTS = ("inputs", "outputs", "params")
_SIGNATURE = re.compile(r"^signature:\n((?:[ ]+.*\n?|\n)+)", re.MULTILINE)
_PART = r"^  {}:\s+'((?:[^']|'')*)'"
_FOLD = re.compile(r"\s*\n\s*")
_UNNAMED = "(unnamed)"


@dataclass(frozen=True, slots=True)
class Column:
    """A column or tensor that a model takes or gives, or a parameter.

    Attributes:
        part: ``inputs``, ``outputs`` or ``params``.
        kind: its type, in words.
    """

    part: str
    name: str
    kind: str


def columns(mlmodel: str) -> list[Column]:
    """Return what the text of an ``MLmodel`` says, if it has a signature."""
    found = _SIGNATURE.search(mlmodel)
    if found is None:
        return []
    try:
        return [
            Column(part, str(each.get("name") or _UNNAMED), kind_of(each))
            for part in _PARTS
            for each in _members(found[1], part)
        ]
    except RecursionError:  # nobody nests types like that
        return []


def _members(signature: str, part: str) -> Iterator[dict[str, Any]]:
    quoted = re.search(_PART.format(part), signature, re.MULTILINE)
    if quoted is None:
        return
    try:
        found = json.loads(_FOLD.sub(" ", quoted[1]).replace("''", "'"))
    except ValueError:
        return
    if isinstance(found, list):
        yield from (each for each in found if isinstance(each, dict))


def kind_of(column: object) -> str:
    """Return a type in words: ``double``, ``float32 [-1, 3]``, ``array of string``."""
    if not isinstance(column, dict):
        return str(column)
    tensor = column.get("tensor-spec")
    if isinstance(tensor, dict):
        kind = f"{tensor.get('dtype')} {tensor.get('shape')}"
    elif isinstance(column.get("items"), dict):
        kind = f"array of {kind_of(column['items'])}"
    elif isinstance(column.get("properties"), dict):
        inside = (f"{k}: {kind_of(v)}" for k, v in column["properties"].items())
        kind = f"object {{{', '.join(inside)}}}"
    else:
        kind = str(column.get("type"))
    if "default" in column:
        kind += f", default {json.dumps(column['default'])}"
    return kind if column.get("required", True) else f"{kind}, optional"
