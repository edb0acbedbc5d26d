"""The command as a whole: its table, its help, its way to fail."""

import errno
import json
import subprocess
import sys
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from registry import __version__, errors
from registry.cli.client_command import Connection, client_command
from registry.cli.lazy import LazyCommand, LazyGroup
from registry.cli.main import COMMANDS, main, stagegate
from tests.unit.cli.conftest import Run
from tests.unit.cli.pages import page
from tests.unit.fake_registry import FakeRegistry, model_document

SERVER_COMMANDS = {"serve", "worker", "db", "demo", "doctor"}
CLIENT_COMMANDS = sorted(COMMANDS.keys() - SERVER_COMMANDS)
LEAVES = {"register", "promote", "rollback", "archive", "history", "events"}

failing = LazyCommand("tests.unit.cli.test_main:fail", "Fail.")


@click.command()
@click.argument("how")
def fail(how: str) -> None:
    if how == "interrupt":
        raise KeyboardInterrupt
    raise errors.ConfigurationError(["A is wrong", "B is wrong"])


def all_commands() -> list[tuple[str, click.Command]]:
    found: list[tuple[str, click.Command]] = []
    for name in CLIENT_COMMANDS:
        command = COMMANDS[name].load()
        if isinstance(command, click.Group):
            inner = command.commands.items()
            found += [(f"{name} {leaf}", one) for leaf, one in inner]
        else:
            found.append((name, command))
    return found


@pytest.mark.parametrize("name", CLIENT_COMMANDS)
def test_the_summary_in_the_table_is_the_commands_own(name: str) -> None:
    command = COMMANDS[name].load()

    assert (command.help or "").partition("\n\n")[0] == COMMANDS[name].summary


@pytest.mark.parametrize(("name", "command"), all_commands())
def test_each_client_command_has_an_example_and_the_common_options(
    name: str, command: click.Command
) -> None:
    options = {option for one in command.params for option in one.opts}

    assert f"stagegate {name}" in (command.epilog or "")
    assert {"--url", "--token", "-o"} <= options


def test_the_commands_of_the_design_are_there() -> None:
    names = {name for name, _ in all_commands()}

    assert names == {
        *LEAVES,
        *(f"models {verb}" for verb in ("list", "create", "show", "delete")),
        *(f"versions {verb}" for verb in ("list", "show", "verify", "download")),
        *(f"deployments {verb}" for verb in ("report", "list")),
        *(
            f"requests {verb}"
            for verb in ("list", "show", "create", "approve", "reject", "cancel")
        ),
        *(f"checks {verb}" for verb in ("report", "list")),
        *(f"holds {verb}" for verb in ("list", "set", "lift")),
        *(f"alias {verb}" for verb in ("set", "delete")),
        *(f"audit {verb}" for verb in ("verify", "export")),
        "import mlflow",
        *(
            f"webhooks {verb}"
            for verb in (
                "create", "list", "show", "update", "delete", "test", "deliveries",
                "redeliver", "rotate-secret", "attempts", "listen",
            )
        ),
        *(f"tokens {verb}" for verb in ("create", "list", "revoke", "exchange")),
        *(f"publishers add-{p}" for p in ("github", "gitlab", "kubernetes")),
        *("publishers list", "publishers remove"),
        *(f"roles {verb}" for verb in ("grant", "list", "revoke")),
        "whoami",
    }  # fmt: skip


def test_help_and_version_import_no_command() -> None:
    program = (
        "import sys; from registry.cli.main import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "heavy = {'requests', 'rich', 'flask', 'sqlalchemy'} & set(sys.modules)\n"
        "sys.exit(f'imported {heavy}' if heavy else 0)"
    )

    for option in ("--help", "--version"):
        done = subprocess.run(
            [sys.executable, "-c", program, option],
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr

    assert __version__ in done.stdout


def test_a_command_imports_nothing_of_the_server_nor_draws_for_a_pipe(
    fake: FakeRegistry,
) -> None:
    program = (
        "import sys; from registry.cli.main import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "known = {'rich', 'flask', 'sqlalchemy', 'marshmallow', 'alembic'}\n"
        "print(*sorted(known & sys.modules.keys()), file=sys.stderr)"
    )
    imported = []

    for output in ("json", "table"):
        fake.json("GET", "/models", page(model_document()))
        arguments = ["models", "list", "--url", fake.url, "-o", output]
        done = subprocess.run(
            [sys.executable, "-c", program, *arguments],
            capture_output=True,
            text=True,
            check=True,
        )
        assert "fraud" in done.stdout
        imported.append(done.stderr.split())

    assert imported == [[], []]


def test_a_command_is_loaded_without_a_search_for_garbage() -> None:
    program = (
        "import gc; from registry.cli.main import COMMANDS\n"
        "gc.collect()\n"
        "before = gc.get_stats()\n"
        "COMMANDS['models'].load()\n"
        "assert gc.get_stats() == before\n"
        "assert gc.isenabled() and gc.get_freeze_count() > 1000"
    )

    subprocess.run([sys.executable, "-c", program], check=True)


def test_the_entry_point_runs_the_command(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["stagegate", "--version"])

    with pytest.raises(SystemExit) as ended:
        main()

    assert ended.value.code == 0
    assert __version__ in capsys.readouterr().out


def test_help_lists_every_command_with_its_summary() -> None:
    shown = CliRunner().invoke(stagegate, ["--help"]).output

    for name, lazy in COMMANDS.items():
        assert name in shown
        assert lazy.summary.split()[0] in shown


def test_an_unknown_command_is_a_usage_error() -> None:
    assert CliRunner().invoke(stagegate, ["premote"]).exit_code == 2


def test_the_commands_are_listed_for_shell_completion() -> None:
    assert stagegate.list_commands(click.Context(stagegate)) == list(COMMANDS)


def test_a_reader_that_goes_away_ends_the_command_quietly() -> None:
    @click.command()
    @client_command
    def show_much(_to: Connection) -> None:
        raise BrokenPipeError(errno.EPIPE, "Broken pipe")

    result = CliRunner().invoke(show_much)

    assert result.exit_code == 1
    assert result.stderr == ""


def test_a_table_entry_that_is_no_command_is_a_mistake() -> None:
    with pytest.raises(TypeError, match="is not a command"):
        LazyCommand("registry.cli.main:COMMANDS", "").load()


def test_an_error_of_a_server_command_ends_without_a_traceback() -> None:
    group = LazyGroup(name="stagegate", lazy_commands={"fail": failing})

    result = CliRunner().invoke(group, ["fail", "configuration"])

    assert result.exit_code == 2
    assert result.stderr == "Error: A is wrong\nB is wrong\n"


def test_ctrl_c_ends_with_130() -> None:
    group = LazyGroup(name="stagegate", lazy_commands={"fail": failing})

    result = CliRunner().invoke(group, ["fail", "interrupt"])

    assert result.exit_code == 130
    assert result.stderr == "Interrupted.\n"


def test_a_refusal_says_what_is_allowed(fake: FakeRegistry, run: Run) -> None:
    fake.problem(
        "POST",
        "/models/fraud/versions/1/transitions",
        "transition-refused",
        status=409,
        from_stage="None",
        to_stage="Production",
        allowed=["Staging"],
        reasons=["None to Production is not in the policy"],
    )

    result = run("promote", "fraud", "1", "--to", "Production")

    assert result.exit_code == 3
    assert result.stdout == ""
    assert result.stderr.splitlines() == [
        "Error: about transition-refused",
        "  None to Production is not in the policy",
        "  Allowed from None: Staging",
    ]


def test_a_refusal_without_a_way_out_says_so(fake: FakeRegistry, run: Run) -> None:
    fake.problem(
        "POST",
        "/models/fraud/rollback",
        "transition-refused",
        status=409,
        from_stage="Archived",
        allowed=[],
    )

    assert "Allowed from Archived: no stage" in run("rollback", "fraud").stderr


def test_a_changed_artifact_is_told_file_by_file(fake: FakeRegistry, run: Run) -> None:
    fake.problem(
        "POST",
        "/models/fraud/rollback",
        "artifact-changed",
        status=409,
        differences=["weights.bin is gone"],
    )

    result = run("rollback", "fraud")

    assert result.exit_code == 4
    assert "  weights.bin is gone" in result.stderr


def test_a_cursor_that_is_too_old_is_answered_with_one_that_is_not(
    fake: FakeRegistry, run: Run
) -> None:
    fake.problem("GET", "/events", "cursor-expired", status=410, oldest_cursor="MTIz")

    result = run("events", "--after", "MA==")
    as_json = run("events", "--after", "MA==", "-o", "json")

    assert result.exit_code == 4
    assert result.stderr.splitlines() == [
        "Error: about cursor-expired",
        "  Go on with --after MTIz, or without it",
    ]
    assert json.loads(as_json.stderr)["oldest_cursor"] == "MTIz"


def test_without_a_token_the_error_says_how_to_give_one(
    fake: FakeRegistry, run: Run
) -> None:
    fake.problem("GET", "/models/fraud", "unauthenticated", status=401)

    result = run("models", "show", "fraud", env={"STAGEGATE_TOKEN": None})

    assert result.exit_code == 6
    assert "STAGEGATE_TOKEN_FILE" in result.stderr
    assert "Authorization" not in fake.asked[0].headers


def test_an_error_is_json_for_a_program(fake: FakeRegistry, run: Run) -> None:
    fake.problem(
        "POST", "/models", "invalid", status=422, errors={"name": ["too long"]}
    )

    result = run("models", "create", "x", "-o", "json")

    assert result.exit_code == 2
    assert json.loads(result.stderr) == {
        "type": "urn:stagegate:problem:invalid",
        "title": "A value breaks a rule.",
        "detail": "about invalid\nname: too long",
        "exit_code": 2,
        "errors": {"name": ["too long"]},
    }


def test_an_error_of_the_system_is_told_like_any_other(
    fake: FakeRegistry, run: Run, tmp_path: Path
) -> None:
    fake.json("GET", "/audit/export", {})

    result = run("audit", "export", "--to", f"{tmp_path}/absent/file", "-o", "json")

    assert result.exit_code == 1
    assert json.loads(result.stderr)["type"] == "urn:stagegate:problem:internal"


def test_the_token_may_come_from_a_file(
    fake: FakeRegistry, run: Run, tmp_path: Path
) -> None:
    fake.json("GET", "/models/fraud", model_document())
    file = tmp_path / "token"
    file.write_text("sg_pat_filed\n")

    result = run(
        "models", "show", "fraud",
        env={"STAGEGATE_TOKEN": None, "STAGEGATE_TOKEN_FILE": str(file)},
    )  # fmt: skip

    assert result.exit_code == 0
    assert fake.asked[0].headers["Authorization"] == "Bearer sg_pat_filed"


def test_the_option_outdoes_the_environment(fake: FakeRegistry, run: Run) -> None:
    fake.json("GET", "/models/fraud", model_document())

    run("models", "show", "fraud", "--token", "sg_pat_given")

    assert fake.asked[0].headers["Authorization"] == "Bearer sg_pat_given"


def test_a_token_file_that_is_absent_is_a_usage_error(run: Run) -> None:
    result = run(
        "models", "list",
        env={"STAGEGATE_TOKEN": None, "STAGEGATE_TOKEN_FILE": "/absent/token"},
    )  # fmt: skip

    assert result.exit_code == 2
    assert "STAGEGATE_TOKEN_FILE" in result.stderr


def test_an_unreachable_server_ends_with_8(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "registry.client.connection.BoundedRetry.sleep", lambda *_: None
    )

    result = run("models", "list", "--url", "http://127.0.0.1:1")

    assert result.exit_code == 8
    assert result.stderr.startswith("Error: No usable answer from http://127.0.0.1:1")


@pytest.mark.parametrize(
    ("url", "is_warned"),
    [
        ("http://registry.example.com", True),
        ("http://10.0.0.1:8000", True),
        ("http://localhost:1", False),
        ("http://dev.localhost:1", False),
        ("http://[::1]:1", False),
        ("https://registry.example.com", False),
    ],
)
def test_a_token_over_plain_http_to_another_machine_is_warned_of(
    run: Run, *, url: str, is_warned: bool
) -> None:
    # "." is refused as a name before anything is sent.
    result = run("models", "show", ".", "--url", url)

    assert ("plain http" in result.stderr) is is_warned
    assert result.exit_code == 2
