"""Versions beside each other: what differs, by how much, and what is equal."""

from registry.domain.manifests import FileEntry
from registry.domain.signatures import Column
from registry.ui.comparison import (
    Row,
    compared,
    compared_metrics,
    datasets,
    facts,
    files,
    schema,
)
from tests.unit.commands.making import version


def test_what_differs_is_told_from_what_is_equal() -> None:
    found = compared([{"depth": "4", "seed": "1"}, {"depth": "6", "seed": "1"}])

    assert found.differing == [Row("depth", ["4", "6"])]
    assert found.equal == [Row("seed", ["1", "1"])]


def test_what_one_version_does_not_have_differs() -> None:
    found = compared([{"a": "1"}, {}, {"a": "1", "b": ""}])

    assert found.differing == [
        Row("a", ["1", None, "1"]),
        Row("b", [None, None, ""]),
    ]
    assert found.equal == []


def test_what_no_version_has_is_left_out() -> None:
    assert compared([{"run": None}, {"run": None}]).equal == []


def test_numbers_are_held_against_the_first_version() -> None:
    found = compared_metrics([{"auc": 0.5}, {"auc": 0.75}, {"auc": 0.25}, {}])

    assert found.differing == [
        Row("auc", [0.5, 0.75, 0.25, None], [None, 0.25, -0.25, None])
    ]


def test_number_that_the_first_version_does_not_have_has_no_difference() -> None:
    found = compared_metrics([{}, {"auc": 0.75}])

    assert found.differing[0].changes == [None, None]


def test_metrics_stand_by_name() -> None:
    first, second = {"b": 1.0, "a": 1.0, "d": 2.0, "c": 2.0}, {"a": 2.0, "b": 2.0}

    found = compared_metrics([first, {**second, "d": 2, "c": 2}])

    assert [row.name for row in found.differing] == ["a", "b"]
    assert [row.name for row in found.equal] == ["c", "d"]


def test_difference_beyond_all_numbers_is_not_told() -> None:
    found = compared_metrics([{"loss": -1.7e308}, {"loss": 1.7e308}])

    assert found.differing[0].changes == [None, None]


def test_facts_are_compared_without_what_is_not_said() -> None:
    found = compared([facts(version(1)), facts(version(2, git_commit="abc"))])

    assert [row.name for row in found.differing] == ["Git commit"]
    assert "Run" not in [row.name for row in found.equal]


def test_data_sets_are_known_by_name() -> None:
    row = version(
        datasets=[
            {"name": "train", "digest": "d1", "source": "s3://a"},
            {"name": "train", "digest": "d2"},
            {"name": "eval"},
        ]
    )

    assert datasets(row) == {"train": "d1 · s3://a, d2", "eval": ""}


def test_columns_of_inputs_and_outputs_are_not_mixed_up() -> None:
    columns = [Column("inputs", "x", "long"), Column("outputs", "x", "double")]

    assert schema(columns) == {"inputs: x": "long", "outputs: x": "double"}


def test_files_stand_beside_those_of_the_other_versions() -> None:
    one, other = FileEntry("a", 1, "1" * 64), FileEntry("a", 1, "2" * 64)
    found = {"a": {"v1": one, "v3": other}}

    assert files(found, ["v1", "v2", "v3"]) == [Row("a", [one, None, other])]
