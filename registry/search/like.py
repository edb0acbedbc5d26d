"""LIKE as MLflow means it, in a time that grows with the text and not the pattern.

Rules:

- ``%`` and ``_`` are wildcards, and nothing escapes them.
- Who ignores case compares what ``str.lower`` makes of each character, as PostgreSQL
  does, and all sigmas as one; what would become two characters (``İ``) stays one.
- What stands between two ``%`` is looked for once, from left to right, in one pass
  over the text. To try it at each place anew takes seconds, for a hundred thousand
  ``a`` and a pattern of two thousand.
"""

#: The function in SQLite that compares long texts: ``text, pattern, ignore_case``.
LIKE_FUNCTION = "stagegate_like"

#: Characters that fold to another and that neither its upper nor its title case is.
_SIGMA = "\N{GREEK SMALL LETTER SIGMA}"
_MORE_CASES = {"ß": "ẞ", "θ": "ϴ", _SIGMA: "ς"}


def folded(text: str) -> str:
    """Return the text as it is compared when case is ignored; of the same length."""
    # Which small letter a capital sigma becomes depends on what follows.
    plain = text.replace("Σ", _SIGMA).replace("ς", _SIGMA)
    return "İ".join(part.lower() for part in plain.split("İ"))


def cases_of(character: str) -> set[str]:
    """Return every character that is the same when case is ignored."""
    same = folded(character)
    candidates = {same, same.upper(), same.title(), _MORE_CASES.get(same, same)}
    return {case for case in candidates if len(case) == 1 and folded(case) == same}


class Pattern:
    """A pattern of LIKE or ILIKE, to be held against many texts."""

    def __init__(self, pattern: str, *, ignore_case: bool) -> None:
        self._ignores_case = ignore_case
        pieces = (folded(pattern) if ignore_case else pattern).split("%")
        self._first, self._last = pieces[0], pieces[-1]
        self._is_whole = len(pieces) == 1
        self._between = [_Piece(piece) for piece in pieces[1:-1] if piece]

    def matches(self, text: str) -> bool:
        """Whether the text is like the pattern."""
        if self._ignores_case:
            text = folded(text)
        begin, end = len(self._first), len(text) - len(self._last)
        if self._is_whole:
            return end == 0 and _stands_at(0, self._first, text)
        if begin > end or not _stands_at(0, self._first, text):
            return False
        return _stands_at(end, self._last, text) and self._stand(text, begin, end)

    def _stand(self, text: str, begin: int, end: int) -> bool:
        """Whether the pieces between stand there, one behind the other."""
        for piece in self._between:
            begin = piece.end_in(text, begin, end)
            if begin < 0:
                return False
        return True


def _stands_at(place: int, piece: str, text: str) -> bool:
    """Whether a piece stands at this place of a text that is long enough."""
    there = text[place : place + len(piece)]
    return all(own in {"_", other} for own, other in zip(piece, there, strict=True))


class _Piece:
    """What stands between two ``%``."""

    def __init__(self, piece: str) -> None:
        self._piece = piece
        self._has_wildcards = "_" in piece
        # A bit for each place in the piece: where any character may stand, and where
        # each of its own may.
        self._anything = 0
        self._own: dict[str, int] = {}
        for place, character in enumerate(piece if self._has_wildcards else ""):
            if character == "_":
                self._anything |= 1 << place
            else:
                self._own[character] = self._own.get(character, 0) | 1 << place

    def end_in(self, text: str, begin: int, end: int) -> int:
        """Return where it ends first between two places of a text; -1 for nowhere."""
        length = len(self._piece)
        if not self._has_wildcards:
            place = text.find(self._piece, begin, end)
            return place if place < 0 else place + length
        # A bit for each beginning that fits so far; all of them move on at once.
        fitting = 0
        for place in range(begin, end):
            here = self._own.get(text[place], 0) | self._anything
            fitting = (fitting << 1 | 1) & here
            if fitting >> (length - 1):
                return place + 1
        return -1
