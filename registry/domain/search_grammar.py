"""The grammar of MLflow's filters and orders: from text to words.

It is regular and its words do not overlap, so reading takes time in proportion to
the text.
"""

from functools import cache

from lark import Lark, Token, Tree
from lark.exceptions import UnexpectedCharacters, UnexpectedToken

from registry.domain.search_words import Word, refusal

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


@cache
def _parser() -> Lark:
    return Lark(_GRAMMAR, parser="lalr", start=["filter", "ordering"])


def read_words(start: str, text: str, field: str) -> list[list[Word]]:
    """The words of each comparison, or of the one ordering.

    ``start`` is ``filter`` or ``ordering``; the text was sent as ``field``.

    Raises:
        InvalidInputError: saying what stands where and what was expected.
    """
    try:
        tree = _parser().parse(text, start=start)
    except UnexpectedToken as error:
        at_end = error.token.type == "$END"
        place = len(text) if at_end else error.token.start_pos
        expected = error.expected
    except UnexpectedCharacters as error:
        place, expected = error.pos_in_stream, error.allowed
    else:
        parts = [each for each in tree.children if isinstance(each, Tree)]
        return [
            [_word(token) for token in each.scan_values(_is_token)]
            for each in parts or [tree]
        ]
    phrases = [_PHRASES[name] for name in _PHRASES if name in expected]
    message = f"expected {' or '.join(phrases) or 'the end'}"
    raise refusal(place, text[place:], message, field)


def _word(token: Token) -> Word:
    return Word(token.type, str(token), token.start_pos or 0)  # a read one has it


def _is_token(_leaf: object) -> bool:
    return True
