"""What a change makes of the tags of a model or a version."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeVar

from registry.domain import names
from registry.domain.commands.change import Told
from registry.domain.events import Tag, TagSet
from registry.domain.names import Tags

Row = TypeVar("Row")


@dataclass(frozen=True, slots=True)
class TagChanges:
    """The tags that are there, and those to set or, by None, to remove."""

    present: Mapping[str, str]
    changes: Tags

    @classmethod
    def of(cls, present: Mapping[str, str], tags: Tags | None) -> "TagChanges":
        """Return the changes, in the form in which tags are stored."""
        return cls(present, names.tags(tags or {}))

    @property
    def is_idle(self) -> bool:
        """Whether they only remove what is not there."""
        return not self._effective

    @property
    def after(self) -> dict[str, str]:
        """Return the tags that are there from now on; they must not be too many."""
        return names.require_room_for_tags(self.present, self.changes)

    def rows(self, new_row: Callable[..., Row]) -> tuple[list[Row], list[Row]]:
        """Return the rows to remove and to add."""
        rows = {key: new_row(key=key, value=self.changes[key]) for key in self.changes}
        return (
            [row for key, row in rows.items() if key in self.present],
            [row for key, row in rows.items() if self.changes[key] is not None],
        )

    def events(self, about: Mapping[str, object], types: tuple[str, str]) -> list[Told]:
        """Return an event for each tag that is set, or was there and goes.

        ``types`` are the event's types, of a tag that is set and of one that goes.
        """
        is_set, is_deleted = types
        return [
            (is_deleted, {**about, **Tag(key=key)})
            if value is None
            else (is_set, {**about, **TagSet(key=key, value=value)})
            for key, value in self._effective.items()
        ]

    @property
    def _effective(self) -> Tags:
        return {
            key: value
            for key, value in self.changes.items()
            if value is not None or key in self.present
        }
