"""Names and texts that come from outside: what is accepted, and in which form.

Rules:

- Text is Unicode NFC, without NUL and lone surrogates (PostgreSQL can store
  neither), and without long runs of combining marks: to put them in order takes
  the square of their number, a second for 20,000, and holds up all threads.
  Addresses and paths alone stay as they are: in another form they name another thing.
- A model name may have all that MLflow accepts: no ``/`` and ``:``, not ``.``
  or ``..``, not blank. Control characters are refused besides.
- The name of an environment is free text without control characters.
- Tag keys and aliases follow MLflow's rules.

What breaks a rule is refused by an ``InvalidInputError`` that names the field.
"""

import re
import unicodedata
from collections.abc import Mapping

from registry.errors import InvalidInputError

Tags = Mapping[str, str | None]  #: those that are None are to be removed

MAX_NAME_CHARACTERS = 256
MAX_ALIAS_CHARACTERS = 255
MAX_ENVIRONMENT_CHARACTERS = 250
MAX_TAG_KEY_CHARACTERS = 250
MAX_TAG_VALUE_CHARACTERS = 100_000
#: Of one model or version, and so of one change. All of them are in every document,
#: audit entry and event about it, and are written while others wait.
MAX_TAGS = 5_000
MAX_TAGS_CHARACTERS = 2_000_000
MAX_COMBINING_MARKS = 100
#: Descriptions and reasons, whichever API they come by.
MAX_TEXT_CHARACTERS = 20_000
#: Ids that other systems gave.
MAX_SHORT_TEXT_CHARACTERS = 1_000

_ALIAS = re.compile(r"[\w-]+")
_RESERVED_ALIAS = re.compile(r"latest|v\d+", re.IGNORECASE)
_TAG_KEY = re.compile(r"[\w/.\- :]+")
_SURROGATES = re.compile("[\ud800-\udfff]")
# Vowel signs that are no marks by their class, but fall apart into nothing else.
_HIDDEN_MARKS = re.compile("[\u0f73\u0f75\u0f81]")
_A_MARK = "\u0f71"
_IS_MARK = b"\0" + b"\1" * 255  # by combining class
_TOO_MANY_MARKS = b"\1" * (MAX_COMBINING_MARKS + 1)


def clean_text(text: str, *, field: str) -> str:
    """Return the text in NFC."""
    if storable_text(text, field=field).isascii():
        return text
    if _has_too_many_marks(text):
        raise InvalidInputError(
            f"must not have more than {MAX_COMBINING_MARKS} combining marks in a row",
            field=field,
        )
    return unicodedata.normalize("NFC", text)


def prose(text: str, *, field: str) -> str:
    """Return a description, a reason or a comment in NFC."""
    if len(text) > MAX_TEXT_CHARACTERS:
        raise InvalidInputError(
            f"must not have more than {MAX_TEXT_CHARACTERS} characters", field=field
        )
    return clean_text(text, field=field)


def told_text(text: str) -> str:
    """Return a text of ours as it can be stored, whatever it quotes; not endless."""
    try:
        text = clean_text(text, field="text")
    except InvalidInputError:
        text = ascii(text)[1:-1]
    is_long = len(text) > MAX_TEXT_CHARACTERS
    return f"{text[: MAX_TEXT_CHARACTERS - 1]}…" if is_long else text


def storable_text(text: str, *, field: str) -> str:
    """Return the text as it is, for it can be stored."""
    if "\0" in text or _SURROGATES.search(text):
        raise InvalidInputError(
            "must not contain NUL or unpaired surrogates", field=field
        )
    return text


def _has_too_many_marks(text: str) -> bool:
    """Whether so many stand in a row; one pass, 0.03 µs a character."""
    plain = _HIDDEN_MARKS.sub(_A_MARK, text)
    classes = bytes(map(unicodedata.combining, plain))
    return _TOO_MANY_MARKS in classes.translate(_IS_MARK)


def filled_text(text: str, *, field: str, most: int) -> str:
    """Return a text in NFC that says something, in ``most`` characters."""
    cleaned = clean_text(text, field=field)
    if not cleaned.strip() or len(cleaned) > most:
        raise InvalidInputError(
            f"must have 1 to {most} characters and not be blank", field=field
        )
    return cleaned


def model_name(text: str, *, field: str = "name") -> str:
    """Return a model name in NFC."""
    name = filled_text(text, field=field, most=MAX_NAME_CHARACTERS)
    if name in {".", ".."} or any(character in "/:" for character in name):
        raise InvalidInputError(
            "must not contain '/' or ':' and must not be '.' or '..'", field=field
        )
    return _without_controls(name, field)


def environment_name(text: str) -> str:
    """Return the name of a place that versions are deployed to, in NFC."""
    name = filled_text(text, field="environment", most=MAX_ENVIRONMENT_CHARACTERS)
    return _without_controls(name, "environment")


def _without_controls(name: str, field: str) -> str:
    if any(unicodedata.category(character) == "Cc" for character in name):
        raise InvalidInputError("must not contain control characters", field=field)
    return name


def alias_name(text: str) -> str:
    """Return an alias in NFC."""
    alias = clean_text(text, field="alias")
    if not _ALIAS.fullmatch(alias) or len(alias) > MAX_ALIAS_CHARACTERS:
        raise InvalidInputError(
            "must be letters, digits, '_' and '-' only, "
            f"{MAX_ALIAS_CHARACTERS} at most",
            field="alias",
        )
    if _RESERVED_ALIAS.fullmatch(alias):
        raise InvalidInputError(
            "'latest' and 'v<number>' are reserved and cannot be set", field="alias"
        )
    return alias


def tags(changes: Tags) -> dict[str, str | None]:
    """Return tags in NFC."""
    require_few_tags(len(changes))
    return {
        _tag_key(key): None if value is None else _tag_value(key, value)
        for key, value in changes.items()
    }


def require_few_tags(count: int) -> None:
    """Hold the number of tags in one change to its bound, before any is judged."""
    if count > MAX_TAGS:
        raise _too_many_tags(f"{count:,} in one change")


def require_room_for_tags(present: Mapping[str, str], changes: Tags) -> dict[str, str]:
    """Return the tags that are there after a change; removing is always free."""
    changed = {**present, **changes}
    after = {key: value for key, value in changed.items() if value is not None}
    characters = _characters(after)
    is_too_many = len(after) > max(MAX_TAGS, len(present))
    if is_too_many or characters > max(MAX_TAGS_CHARACTERS, _characters(present)):
        raise _too_many_tags(f"{len(after):,} with {characters:,} characters in all")
    return after


def _characters(of_tags: Mapping[str, str]) -> int:
    return sum(len(key) + len(value) for key, value in of_tags.items())


def _too_many_tags(how_many: str) -> InvalidInputError:
    return InvalidInputError(
        f"must be at most {MAX_TAGS:,} tags with {MAX_TAGS_CHARACTERS:,} characters in "
        f"all, not {how_many}",
        field="tags",
    )


def _tag_key(text: str) -> str:
    key = clean_text(text, field="tags")
    segments = key.split("/")
    if (
        not _TAG_KEY.fullmatch(key)
        or len(key) > MAX_TAG_KEY_CHARACTERS
        or any(segment in {"", ".", ".."} for segment in segments)
    ):
        raise InvalidInputError(
            f"tag key {key[:80]!r}: expected 1 to {MAX_TAG_KEY_CHARACTERS} letters, "
            "digits, spaces and _ / . - : without empty or dotted path segments",
            field="tags",
        )
    return key


def _tag_value(key: str, text: str) -> str:
    value = clean_text(text, field="tags")
    if len(value) > MAX_TAG_VALUE_CHARACTERS:
        raise InvalidInputError(
            f"tag {key!r}: the value has more than {MAX_TAG_VALUE_CHARACTERS} "
            "characters",
            field="tags",
        )
    return value
