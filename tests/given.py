"""Values of searches, given at once."""

from collections.abc import Callable
from typing import Any

from sqlalchemy import BindParameter, bindparam

from registry.persistence.text_matching import Given


class Constant(Given):
    """A value that is its own parameter."""

    def __init__(self, value: object) -> None:
        super().__init__(value, lambda _: value, {})

    def bind(
        self,
        convert: Callable[[Any], Any] | None = None,
        **options: Any,  # noqa: ANN401  # bindparam's
    ) -> BindParameter[Any]:
        """The value itself, converted."""
        value = self.value if convert is None else convert(self.value)
        return bindparam(None, value, unique=True, **options)

    def at(self, place: int) -> "Constant":
        """One value of a list."""
        return Constant(self.value[place])
