"""How values are put before people: numbers, sizes, commands, words for states."""

import json
import math
import shlex
from collections.abc import Callable, Mapping
from datetime import datetime
from urllib.parse import urlsplit

from registry.domain.timestamps import rfc3339

#: The mark of a stage, so that colour is not all that tells them apart.
STAGE_MARKS = {"None": "○", "Staging": "◐", "Production": "●", "Archived": "□"}
#: What a state means to whoever looks: its tone, and the mark that says so.
TONES: Mapping[str, str] = {
    **dict.fromkeys(
        ("ready", "delivered", "succeeded", "passed", "approved", "active"), "good"
    ),
    **dict.fromkeys(
        ("dead", "failed", "disabled", "rejected", "expired", "refused", "revoked"),
        "bad",
    ),
    **dict.fromkeys(
        ("pending", "sending", "in_progress", "open", "held", "blocked", "waiting"),
        "waiting",
    ),
    **dict.fromkeys(("paused", "warning", "void"), "warn"),
    "failed_registration": "bad",
    "pending_registration": "waiting",
}
TONE_MARKS = {"good": "✓", "bad": "✕", "waiting": "◷", "warn": "▲", "plain": "·"}
NOTHING = "–"  # noqa: RUF001  # an en dash, for what is not there
_UNITS = ("B", "KiB", "MiB", "GiB", "TiB")
_STEP = 1024


def stage_mark(stage: str) -> str:
    """Return the mark of a stage; one that the operator has named has its own."""
    return STAGE_MARKS.get(stage, "◇")


def stage_class(stage: str) -> str:
    """Return the CSS class of a stage."""
    return f"stage-{stage.lower()}" if stage in STAGE_MARKS else "stage-other"


def tone(state: str) -> str:
    """Return how a state is to be taken: good, bad, waiting, warn, plain."""
    return TONES.get(state.lower(), "plain")


def tone_mark(tone: str) -> str:
    """Return the mark of a tone."""
    return TONE_MARKS[tone]


def words(text: str) -> str:
    """Return ``in_progress`` as ``in progress``."""
    return text.replace("_", " ").lower()


def size(count: int | None) -> str:
    """Return a number of bytes as people read it."""
    if count is None:
        return NOTHING
    value, unit = float(count), _UNITS[0]
    for unit in _UNITS:
        if value < _STEP or unit == _UNITS[-1]:
            break
        value /= _STEP
    return f"{count} B" if unit == "B" else f"{value:.1f} {unit}"


def number(value: float | None) -> str:
    """Return a metric with six significant digits."""
    if value is None:
        return NOTHING
    if isinstance(value, int) or (math.isfinite(value) and value == int(value)):
        return f"{value:,.0f}" if abs(value) < 10**15 else f"{value:g}"
    return f"{value:.6g}"


def instant(value: datetime | str) -> str:
    """Return an instant for ``<time datetime>``."""
    return value if isinstance(value, str) else rfc3339(value)


def utc(value: datetime | str) -> str:
    """Return an instant as it is shown without a script, to the second."""
    text = instant(value)
    return f"{text[:10]} {text[11:19]} UTC"


def command(*words: object) -> str:
    """Return a command that a shell reads as it is meant."""
    return shlex.join(["stagegate", *map(str, words)])


def address(url: str) -> str:
    """Return host and path of a URL: what follows may be a secret."""
    split = urlsplit(url)
    return f"{split.netloc.rpartition('@')[2]}{split.path}"


def indented(text: str) -> str:
    """Return a JSON document in lines; nothing where it is none, or is no longer."""
    try:
        document = json.loads(text)
    except (ValueError, RecursionError):
        return ""
    told = json.dumps(document, ensure_ascii=False, indent=2)
    return told if "\n" in told else ""


FILTERS: Mapping[str, Callable[..., str]] = {
    "stage_mark": stage_mark,
    "stage_class": stage_class,
    "tone": tone,
    "tone_mark": tone_mark,
    "words": words,
    "size": size,
    "number": number,
    "instant": instant,
    "address": address,
    "indented": indented,
    "utc": utc,
}
