"""The grammar of MLflow's filters and orders: from text to words.

It is regular and its words do not overlap, so reading takes time in proportion to
the text.
"""

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

from registry.domain.names import clean_text
from registry.errors import InvalidInputError

if TYPE_CHECKING:
    from lark import Lark

_SHOWN_CHARACTERS = 40
_GRAMMAR = r"""
filter: comparison (_AND comparison)*
comparison: KEY COMPARATOR (STRING | NUMBER)
          | KEY LIST_COMPARATOR _OPEN STRING (_COMMA STRING)* _COMMA? _CLOSE
ordering: KEY DIRECTION?

KEY: /\w+(\.(`[^`]+`|"[^"]+"|[\w.]+))?/
COMPARATOR: "=" | "!=" | ">" | ">=" | "<" | "<=" | /I?LIKE\b/i
LIST_COMPARATOR: /(NOT\s+)?IN\b/i
STRING: /'(?:[^']|'')*'/ | /"(?:[^"]|"")*"/
NUMBER: /-?[\d.]+(e[+-]?\d+)?/i
DIRECTION: /(ASC|DESC)\b/i
_AND: /AND\b/i
_OPEN: "("
_COMMA: ","
_CLOSE: ")"

%import common.WS
%ignore WS
"""
_PHRASES = {
    "KEY": "a key such as name or tags.<key>",
    "COMPARATOR": "a comparator (=, !=, >, >=, <, <=, LIKE, ILIKE)",
    "LIST_COMPARATOR": "IN or NOT IN",
    "STRING": "a text in quotes",
    "NUMBER": "a number",
    "DIRECTION": "ASC, DESC or the end",
    "_AND": "AND or the end",
    "_OPEN": "'('",
    "_COMMA": "','",
    "_CLOSE": "')'",
}


@dataclass(frozen=True)
class Word:
    """One word of a filter or an ordering.

    Attributes:
        text: as it was written, with its quotes.
        place: where it begins, counted from 0.
    """

    text: str
    place: int

    @property
    def is_quoted(self) -> bool:
        """Whether it is a text, which alone begins with a quote."""
        return self.text.startswith(("'", '"'))

    @property
    def unquoted(self) -> str:
        """Return the text without the quotes around it, if it has any."""
        return self.text[1:-1] if self.is_quoted else self.text


def read_words(start: str, text: str, field: str) -> list[list[Word]]:
    """Return the words of each comparison, or of the one ordering.

    ``start`` is ``filter`` or ``ordering``; the text was sent as ``field``.
    """
    # Loaded when it is first needed: a process that nobody searches holds 2 MB less.
    from lark import Tree  # noqa: PLC0415
    from lark.exceptions import UnexpectedCharacters, UnexpectedToken  # noqa: PLC0415

    text = clean_text(text, field=field)
    try:
        tree = _parser().parse(text, start=start)
    except UnexpectedToken as error:
        at_end = error.token.type == "$END"
        place = len(text) if at_end else error.token.start_pos
        expected = error.expected
    except UnexpectedCharacters as error:
        place, expected = error.pos_in_stream, error.allowed
    else:
        parts = [part for part in tree.children if isinstance(part, Tree)]
        return [
            [
                Word(str(token), token.start_pos or 0)  # lark sets it, though typed so
                for token in part.scan_values(lambda _: True)
            ]
            for part in parts or [tree]
        ]
    phrases = [phrase for name, phrase in _PHRASES.items() if name in expected]
    message = f"expected {' or '.join(phrases) or 'the end'}"
    raise refusal(Word(text[place:], place), message, field)


@cache
def _parser() -> "Lark":
    from lark import Lark  # noqa: PLC0415  # as above

    return Lark(_GRAMMAR, parser="lalr", start=["filter", "ordering"])


def refusal(word: Word, expected: str, field: str = "filter") -> InvalidInputError:
    """Return the refusal of a word; people count characters from 1."""
    text = word.text
    cut = text[:_SHOWN_CHARACTERS] + "…" * (len(text) > _SHOWN_CHARACTERS)
    shown = repr(cut) if text else "the end"
    message = f"at character {word.place + 1}, found {shown}: {expected}"
    return InvalidInputError(message, field=field)
