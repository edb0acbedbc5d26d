"""Versions beside each other: what differs first, what is equal after it.

Rules:

- What a version does not have differs from what another one has.
- Numbers are compared as numbers, and told with what they differ by from the first
  version, which the others are held against.

Pure: nothing here reads anything.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from registry.domain.manifests import FileEntry
from registry.domain.rows import VersionRow
from registry.domain.signatures import Column


@dataclass(frozen=True, slots=True)
class Row:
    """What each version has of one name; None where it has nothing.

    Attributes:
        changes: what each differs by from the first, where both are numbers.
    """

    name: str
    values: Sequence[Any]
    changes: Sequence[float | None] = ()

    @property
    def differs(self) -> bool:
        """Whether one version has something else than another."""
        return any(value != self.values[0] for value in self.values)


@dataclass(frozen=True, slots=True)
class Comparison:
    """Rows of one kind."""

    differing: Sequence[Row]
    equal: Sequence[Row]


def compared(members: Sequence[Mapping[str, Any]]) -> Comparison:
    """Compare what several have, by name, in the order of the first that has it."""
    names = dict.fromkeys(
        name for each in members for name in each if each[name] is not None
    )
    rows = [Row(name, [each.get(name) for each in members]) for name in names]
    return Comparison(
        [row for row in rows if row.differs], [row for row in rows if not row.differs]
    )


def compared_metrics(members: Sequence[Mapping[str, float]]) -> Comparison:
    """Compare metrics, by name in alphabetical order."""
    found = compared(members)
    return Comparison(
        sorted(map(_with_changes, found.differing), key=_name),
        sorted(found.equal, key=_name),
    )


def _name(row: Row) -> str:
    return row.name


def _with_changes(row: Row) -> Row:
    first, *others = row.values
    return Row(row.name, row.values, [None, *(_change(first, v) for v in others)])


def _change(first: float | None, value: float | None) -> float | None:
    if first is None or value is None or not math.isfinite(value - first):
        return None
    return value - first


def facts(version: VersionRow) -> dict[str, object]:
    """Return what is said of a version in a word each."""
    return {
        "Registered by": version.created_by,
        "Source": version.source,
        "Run": version.run_id,
        "Logged model": version.logged_model_id,
        "Git commit": version.git_commit,
        "Artifact": version.artifact_digest,
        "Size in bytes": version.artifact_size_bytes,
        "Description": version.description or None,
    }


def datasets(version: VersionRow) -> dict[str, str]:
    """Return its data sets by name, each with digest and source."""
    found: dict[str, str] = {}
    for each in version.datasets:
        said = " · ".join(filter(None, (each.get("digest"), each.get("source"))))
        name = each.get("name", "")
        found[name] = f"{found[name]}, {said}" if name in found else said
    return found


def schema(columns: Sequence[Column]) -> dict[str, str]:
    """Return what it takes and gives, by name."""
    return {f"{each.part}: {each.name}": each.kind for each in columns}


def files(
    found: Mapping[str, Mapping[str, FileEntry]], version_ids: Sequence[str]
) -> list[Row]:
    """Return files as rows, each value the file as a version has it."""
    return [
        Row(path, [of_version.get(each) for each in version_ids])
        for path, of_version in found.items()
    ]
