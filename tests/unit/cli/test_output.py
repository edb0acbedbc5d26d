"""Tables that hold what they are given, and JSON that is the API's."""

import json

import pytest

from registry.cli.output import (
    Column,
    Output,
    OutputFormat,
    member_of,
    printable,
    text_of,
)
from registry.client.types import Record

COLUMNS = (Column("ID", "id"), Column("BY", "actor.name"))
TABLE = Output(OutputFormat.TABLE)
JSON = Output(OutputFormat.JSON)


def record(**members: object) -> Record:
    return Record.from_json(members)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "-"),
        ("", "-"),
        ([], "-"),
        ({}, "-"),
        (True, "yes"),
        (False, "no"),
        (0, "0"),
        (0.5, "0.5"),
        ([1, "b"], "1, b"),
        ({"a": [1, 2], "b": None}, "a=1, 2, b=-"),
    ],
)
def test_a_value_is_shown_as_text(value: object, text: str) -> None:
    assert text_of(value) == text


def test_a_member_is_found_by_its_path() -> None:
    assert member_of({"actor": {"name": "ci"}}, "actor.name") == "ci"
    assert member_of({"actor": "ci"}, "actor.name") is None


def test_control_characters_are_shown_and_not_obeyed() -> None:
    assert printable("a\x1b[31m\nb\u202ec") == "a\\x1b[31m\nb\\x202ec"


def test_a_piped_table_is_neither_cut_nor_padded(
    capsys: pytest.CaptureFixture[str],
) -> None:
    long = "x" * 500

    TABLE.listing([record(id=long, actor={"name": "ci"}), record(id="b")], COLUMNS)

    lines = capsys.readouterr().out.splitlines()
    assert lines[1].split() == [long, "ci"]
    assert all(line == line.rstrip() for line in lines)


@pytest.mark.parametrize("name", ["模型 b", "🎉", "e\u0308", "two\nlines", "[b]no[/b]"])
def test_a_pipe_and_a_terminal_get_the_same_rows(
    name: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def printed() -> str:
        TABLE.listing([record(id=name, actor={"name": "ci"}), record(id="b")], COLUMNS)
        TABLE.details({"run_id": name}, ["run_id", "id"])
        return capsys.readouterr().out

    piped = printed()
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    monkeypatch.setenv("TERM", "dumb")

    assert printed() == piped
    assert name.partition("\n")[0] in piped


def test_a_terminal_gets_a_table_that_folds(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "40")
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("NO_COLOR", "1")

    TABLE.listing([record(id="y" * 100)], COLUMNS)

    out = capsys.readouterr().out
    assert out.count("y") == 100
    assert max(len(line) for line in out.splitlines() if "y" in line) <= 40


def test_no_color_is_honoured(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("NO_COLOR", "1")

    TABLE.details({"name": "fraud"}, ["name"])

    assert "\x1b[3" not in capsys.readouterr().out


def test_nothing_found_is_said_beside_the_output(
    capsys: pytest.CaptureFixture[str],
) -> None:
    TABLE.listing([], COLUMNS)

    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err == "Nothing found.\n"


def test_json_is_the_api_objects_unchanged(capsys: pytest.CaptureFixture[str]) -> None:
    JSON.listing([record(id="a", new={"b": "é"})], COLUMNS)
    assert json.loads(capsys.readouterr().out) == {
        "items": [{"id": "a", "new": {"b": "é"}}]
    }

    JSON.details({"id": "a", "new": 1}, ["id"])
    assert json.loads(capsys.readouterr().out) == {"id": "a", "new": 1}

    JSON.done({"id": "a"}, "Done.")
    assert json.loads(capsys.readouterr().out) == {"id": "a"}
