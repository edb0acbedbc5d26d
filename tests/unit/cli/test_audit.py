"""``stagegate audit``: offline, from a server, and from the database."""

import json
from pathlib import Path

import pytest

from registry.cli.audit import TABLES_NOT_COMPARED
from registry.domain.audit_chain import LIMITS, Chain, Head, seal
from registry.domain.audit_export import FORMER_FORMAT, export_lines
from registry.domain.audit_privacy import public
from tests.unit.cli.conftest import Run
from tests.unit.fake_registry import Answer, Asked, FakeRegistry


def export_text() -> str:
    """A sound export of one chain with two entries."""
    first = seal("system", None, {"action": "token.created"})
    head = Head(chain="system", n=1, hash=first.hash)
    second = seal("system", head, {"action": "token.revoked"})
    last = Head(chain="system", n=2, hash=second.hash)
    chain = Chain(name="system", entries=[first, second], head=last)
    return "".join(f"{line}\n" for line in export_lines([chain], with_private=True))


COVERED = f"{TABLES_NOT_COMPARED}\n{LIMITS}\n"
INTACT = f"2 entries in 1 chains: intact.\n{COVERED}"


def test_a_sound_export_is_found_intact_offline(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "audit.jsonl"
    file.write_text(export_text())

    result = run("audit", "verify", str(file))

    assert result.exit_code == 0
    assert result.stdout == INTACT


def test_export_of_a_former_release_is_said_to_have_no_seal(
    run: Run, tmp_path: Path
) -> None:
    file = tmp_path / "audit.jsonl"
    _, *entries, head, _ = export_text().splitlines()
    first = json.dumps({"format": FORMER_FORMAT})
    file.write_text("\n".join([first, *entries, head]))

    result = run("audit", "verify", str(file))
    shown = json.loads(run("audit", "verify", str(file), "-o", "json").stdout)

    assert result.exit_code == 0
    assert "has no seal" in result.stdout
    assert (shown["ok"], shown["sealed"], shown["limits"]) == (True, False, LIMITS)


def test_what_was_not_verified_in_a_redacted_export_is_said(
    run: Run, tmp_path: Path
) -> None:
    file = tmp_path / "audit.jsonl"
    entry = seal("system", None, {"v": 1, "source_ip": "192.0.2.1"})
    head = Head(chain="system", n=1, hash=entry.hash)
    chain = Chain(name="system", entries=[public(entry)], head=head)
    lines = export_lines([chain], with_private=False)
    file.write_text("".join(f"{line}\n" for line in lines))

    result = run("audit", "verify", str(file))

    assert result.exit_code == 0
    assert "1 entries are shown without source addresses" in result.stdout


def test_export_that_was_cut_off_ends_with_1(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "audit.jsonl"
    file.write_text("".join(export_text().splitlines(keepends=True)[:1]))

    result = run("audit", "verify", str(file))

    assert result.exit_code == 1
    assert "0 entries in 0 chains: DAMAGED." in result.stdout


def test_damage_is_named_and_ends_with_1(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "audit.jsonl"
    file.write_text(export_text().replace("token.revoked", "token.deleted"))

    result = run("audit", "verify", str(file))
    shown = json.loads(run("audit", "verify", str(file), "-o", "json").stdout)

    assert result.exit_code == 1
    assert result.stdout.startswith("Damaged: chain system, entry 2: edited: ")
    assert result.stdout.endswith(f"DAMAGED.\n{COVERED}")
    assert shown["ok"] is False
    assert shown["damage"][0]["kind"] == "edited"


def test_a_file_that_is_no_text_is_damaged_and_no_crash(
    run: Run, tmp_path: Path
) -> None:
    file = tmp_path / "audit.jsonl"
    file.write_bytes(b"\xff\xfe\x00\n")

    result = run("audit", "verify", str(file))

    assert result.exit_code == 1
    assert "Damaged: line 1: malformed" in result.stdout


def test_a_server_is_verified_by_its_export(fake: FakeRegistry, run: Run) -> None:
    fake.on(
        "GET", "/api/v1/audit/export", lambda _: Answer(200, export_text().encode())
    )

    result = run("audit", "verify")

    assert result.stdout == INTACT


def test_an_export_is_printed_or_written_whole(
    fake: FakeRegistry, run: Run, tmp_path: Path
) -> None:
    fake.on(
        "GET", "/api/v1/audit/export", lambda _: Answer(200, export_text().encode())
    )
    file = tmp_path / "audit.jsonl"

    printed = run("audit", "export")
    written = run("audit", "export", "--to", str(file))

    assert printed.stdout == export_text()
    assert file.read_text() == export_text()
    assert "Wrote 5 lines" in written.stderr
    assert list(tmp_path.iterdir()) == [file]


def test_a_broken_export_does_not_pass_for_a_whole_one(
    fake: FakeRegistry, run: Run, tmp_path: Path
) -> None:
    fake.on(
        "GET",
        "/api/v1/audit/export",
        lambda _: Answer(200, export_text().encode(), cut_at=50),
    )

    result = run("audit", "export", "--to", str(tmp_path / "audit.jsonl"))

    assert result.exit_code == 8
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["audit.jsonl", "a" * 255])
def test_exports_to_one_file_at_once_are_each_whole(
    fake: FakeRegistry, run: Run, tmp_path: Path, name: str
) -> None:
    file = tmp_path / name
    body = export_text().encode()

    def export_meanwhile(_: Asked) -> Answer:
        assert run("audit", "export", "--to", str(file)).exit_code == 0
        return Answer(200, body)

    fake.on(
        "GET", "/api/v1/audit/export", export_meanwhile, lambda _: Answer(200, body)
    )

    assert run("audit", "export", "--to", str(file)).exit_code == 0
    assert file.read_bytes() == body
    assert list(tmp_path.iterdir()) == [file]


def test_without_file_and_address_the_settings_name_the_database(
    run: Run, tmp_path: Path
) -> None:
    result = run(
        "audit", "verify",
        env={"STAGEGATE_URL": None, "STAGEGATE_DATA_DIR": str(tmp_path)},
    )  # fmt: skip

    assert result.exit_code == 5
    assert f"There is no database {tmp_path}/stagegate.db" in result.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("content", [b"", b"this is no database at all" * 50])
def test_a_database_that_is_none_ends_without_a_traceback(
    run: Run, tmp_path: Path, content: bytes
) -> None:
    (tmp_path / "stagegate.db").write_bytes(content)

    result = run(
        "audit", "verify",
        env={"STAGEGATE_URL": None, "STAGEGATE_DATA_DIR": str(tmp_path)},
    )  # fmt: skip

    assert result.exit_code == 1
    assert result.stderr.startswith("Error: The database cannot be read: ")
    assert len(result.stderr.splitlines()) == 1


def test_a_database_server_that_is_down_ends_without_a_traceback(run: Run) -> None:
    result = run(
        "audit", "verify",
        env={
            "STAGEGATE_URL": None,
            "STAGEGATE_DATABASE_URL": "postgresql+psycopg://nobody@127.0.0.1:1/none",
            "STAGEGATE_SECRET_KEY": "test-key-" * 4,
        },
    )  # fmt: skip

    assert result.exit_code == 1
    assert result.stderr.startswith("Error: The database cannot be read: ")
    assert len(result.stderr.splitlines()) == 1
