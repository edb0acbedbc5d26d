"""What the address of a model's page asks for: columns, order, part, metric."""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

from flask import url_for
from werkzeug.datastructures import MultiDict

from registry.domain.names import clean_text
from registry.domain.policy import StagePolicy
from registry.errors import InvalidInputError
from registry.persistence.boards import METRIC, ORDERS, Order
from registry.ui.forms import whole_number

#: Columns of the table of versions besides its number, and their heads.
COLUMNS = {
    "stage": "Stage",
    "description": "Description",
    "activity": "Last activity",
    "registered": "Registered",
    "run": "Run",
    "commit": "Commit",
}
_USUAL = ("stage", "description", "activity", "run")
_USUAL_METRICS = 3
_DESCENDING_FIRST = {"number", "activity", "registered"}
_MAX_COLUMNS = 30
_MAX_PAGE = 1_000_000


@dataclass(frozen=True, kw_only=True)
class ModelView:
    """What is asked for; None and 1 are what is usual.

    Attributes:
        c: the columns that were chosen; ``metric:NAME`` is a metric's.
        sort: a column, with a minus before it to go down.
        below: the line of the history that what is shown of it lies below.
    """

    name: str
    c: tuple[str, ...] = ()
    sort: str = "-number"
    stage: str | None = None
    page: int = 1
    metric: str | None = None
    below: int | None = None

    @classmethod
    def of(
        cls, name: str, arguments: MultiDict[str, str], policy: StagePolicy
    ) -> "ModelView":
        """Return what these arguments ask for.

        Raises:
            InvalidInputError: for what is no column, stage or number.
        """
        stage, below, metric = map(arguments.get, ("stage", "below", "metric"))
        view = cls(
            name=name,
            c=tuple(dict.fromkeys(map(_clean, arguments.getlist("c")[:_MAX_COLUMNS]))),
            sort=clean_text(arguments.get("sort", "-number"), field="sort"),
            stage=policy.stage(stage, field="stage") if stage else None,
            page=whole_number(arguments.get("page", "1"), "page", most=_MAX_PAGE),
            metric=clean_text(metric, field="metric") if metric else None,
            below=whole_number(below, "below", most=2**62) if below else None,
        )
        if not _is_column(view.order.by, ORDERS):
            raise InvalidInputError(
                f"expected one of {', '.join(ORDERS)}", field="sort"
            )
        return view

    @property
    def order(self) -> Order:
        """Return the order of the table."""
        return Order(
            by=self.sort.removeprefix("-"), is_descending=self.sort.startswith("-")
        )

    def columns(self, metrics: Sequence[str]) -> list[tuple[str, str]]:
        """Return the columns of the table, each with its head."""
        usual = [_USUAL[0], *(METRIC + each for each in metrics[:_USUAL_METRICS])]
        chosen = self.c or (*usual, *_USUAL[1:])
        return [(key, head(key)) for key in chosen if _is_column(key, COLUMNS)]

    @property
    def said(self) -> list[tuple[str, str]]:
        """Return what is asked for that is not usual, as a form has it."""
        said = self._unlike_usual()
        return [
            (key, str(each))
            for key, value in said.items()
            for each in (value if isinstance(value, tuple) else (value,))
        ]

    def address(self, anchor: str | None = None, **changes: Any) -> str:  # noqa: ANN401  # any field
        """Return the address of the same page but for the changes."""
        view = replace(self, **changes)
        return url_for(
            "ui.models.show",
            name=self.name,
            _anchor=anchor,
            **view._unlike_usual(),  # noqa: SLF001  # of this class
        )

    def _unlike_usual(self) -> dict[str, Any]:
        asked = {field.name: getattr(self, field.name) for field in fields(self)}
        del asked["name"]
        return {
            key: value
            for key, value in asked.items()
            if value != getattr(ModelView, key)
        }

    def sorted_by(self, key: str) -> str:
        """Return the address of the table by a column, or the other way round."""
        is_down = key in _DESCENDING_FIRST or key.startswith(METRIC)
        if self.order.by == key:
            is_down = not self.order.is_descending
        return self.address("versions", sort=f"{'-' * is_down}{key}", page=1)


def _clean(column: str) -> str:
    return clean_text(column, field="c")


def head(key: str) -> str:
    """Return the head of a column."""
    return COLUMNS.get(key) or key.removeprefix(METRIC)


def _is_column(key: str, known: Sequence[str] | dict[str, str]) -> bool:
    return key in known or (key.startswith(METRIC) and key != METRIC)
