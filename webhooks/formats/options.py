"""Reading options: each reader gives a value of the right kind or says which not.

Every reader raises InvalidSubscriptionError with the field ``options.<name>``.
"""

from collections.abc import Sequence

from webhooks.errors import InvalidSubscriptionError
from webhooks.formats.contract import Options


def require_known(options: Options, *known: str) -> None:
    """Refuse options that the format does not have, so that no typo is lost."""
    for name in options:
        if name not in known:
            raise InvalidSubscriptionError(
                f"options.{name}",
                f"is not an option of this format; it has {', '.join(known)}"
                if known
                else "is not an option of this format; it has none",
            )


def read_text(
    options: Options, name: str, default: str | None = None, *, maximum: int = 255
) -> str:
    """Read one line of text; without a default it must be given."""
    text = options.get(name, default)
    if not isinstance(text, str) or not text or not text.isprintable():
        raise InvalidSubscriptionError(f"options.{name}", "must be one line of text")
    if len(text) > maximum or "${" in text:
        raise InvalidSubscriptionError(
            f"options.{name}",
            f"must have at most {maximum} characters and no placeholder",
        )
    return text


def read_choice(options: Options, name: str, choices: Sequence[str]) -> str:
    """Read one of the choices; the first is the default."""
    choice = options.get(name, choices[0])
    if choice not in choices:
        raise InvalidSubscriptionError(
            f"options.{name}", f"must be one of {', '.join(choices)}"
        )
    return str(choice)


def read_flag(options: Options, name: str, *, default: bool) -> bool:
    """Read true or false."""
    flag = options.get(name, default)
    if not isinstance(flag, bool):
        raise InvalidSubscriptionError(f"options.{name}", "must be true or false")
    return flag
