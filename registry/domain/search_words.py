"""The words that a search is written in, and how one of them is refused."""

from dataclasses import dataclass

from registry.errors import InvalidInputError

#: The kind of a word that stands in quotes.
TEXT = "STRING"
_SHOWN_CHARACTERS = 40


@dataclass(frozen=True)
class Word:
    """One word of a filter or an ordering.

    Attributes:
        text: as it was written, with its quotes.
        place: where it begins, counted from 0.
    """

    kind: str
    text: str
    place: int


def refusal(place: int, found: str, expected: str, field: str) -> InvalidInputError:
    """The refusal of what was found; people count characters from 1."""
    cut = found[:_SHOWN_CHARACTERS] + "…" * (len(found) > _SHOWN_CHARACTERS)
    shown = repr(cut) if found else "the end"
    message = f"at character {place + 1}, found {shown}: {expected}"
    return InvalidInputError(message, field=field)
