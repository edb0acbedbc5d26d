"""Downloads beside each other, and such as break off, from real servers."""

import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from registry import errors
from registry.client import RegistryClient
from registry.client.staging import SUFFIX
from tests.integration.artifacts.test_names import files_of
from tests.integration.cli.conftest import runner_of
from tests.server import RunningServer, running_server
from tests.waiting import STALL_SECONDS, wait_for

MEBIBYTE = 1024 * 1024
LARGE = {"weights.bin": os.urandom(MEBIBYTE) * 96}
TINY = {f"part-{number:03}.txt": b"%d" % number for number in range(100)}


def registered(
    client: RegistryClient, model: str, files: Mapping[str, bytes], directory: Path
) -> None:
    directory.mkdir()
    for name, content in files.items():
        (directory / name).write_bytes(content)
    client.register(model, directory)


def begin_download(
    server: RunningServer, model: str, to: Path
) -> subprocess.Popen[bytes]:
    command = (sys.executable, "-m", "registry.cli.main", "versions", "download")
    ours = {"STAGEGATE_URL": server.url, "STAGEGATE_TOKEN": server.token}
    return subprocess.Popen(
        [*command, model, "1", "--to", str(to)],
        env={**os.environ, **ours},
        stdout=subprocess.DEVNULL,
    )


@pytest.mark.parametrize(
    ("files", "at_once"), [(LARGE, 2), (TINY, 4)], ids=["large", "tiny"]
)
@pytest.mark.parametrize("is_there", [True, False])
def test_downloads_to_one_place_at_once_all_succeed_and_leave_nothing_else(
    local_server: RunningServer,
    tmp_path: Path,
    *,
    files: Mapping[str, bytes],
    at_once: int,
    is_there: bool,
) -> None:
    model = f"{tmp_path.name}"
    with local_server.client() as client:
        client.create_model(model)
        registered(client, model, files, tmp_path / "sent")
    shared = tmp_path / "to" / "shared"
    (shared if is_there else shared.parent).mkdir(parents=True)

    running = [begin_download(local_server, model, shared) for _ in range(at_once)]
    codes = [process.wait(STALL_SECONDS) for process in running]

    assert codes == [0] * at_once
    assert files_of(shared) == files
    assert list(shared.parent.iterdir()) == [shared]


def test_download_outlives_a_restart_of_the_server(tmp_path: Path) -> None:
    with running_server(tmp_path) as server, server.client() as client:
        client.create_model("m")
        registered(client, "m", LARGE, tmp_path / "sent")
        restarts: list[int] = []

        def restart_once(done: int, _total: int) -> None:
            if done and not restarts:
                restarts.append(done)
                server.kill()
                server.start()

        client.download("m", 1, tmp_path / "got", on_progress=restart_once)

    assert restarts
    assert files_of(tmp_path / "got") == LARGE


def test_download_that_was_killed_goes_on_when_it_is_repeated(
    local_server: RunningServer, tmp_path: Path
) -> None:
    model = tmp_path.name
    progress: list[int] = []
    with local_server.client() as client:
        client.create_model(model)
        registered(client, model, LARGE, tmp_path / "sent")
        process = begin_download(local_server, model, tmp_path / "got")
        left = tmp_path / f"got{SUFFIX}"
        wait_for_bytes(left)
        process.send_signal(signal.SIGKILL)
        process.wait()
        had = bytes_in(left)

        assert 0 < had < len(LARGE["weights.bin"])
        assert not (tmp_path / "got").exists()
        client.download(
            model,
            1,
            tmp_path / "got",
            on_progress=lambda done, _: progress.append(done),
        )

    assert min(done for done in progress if done) > had
    assert files_of(tmp_path / "got") == LARGE
    assert not left.exists()


def wait_for_bytes(directory: Path) -> None:
    """Until something has arrived; all of it takes only moments more."""
    wait_for(lambda: bytes_in(directory))


def bytes_in(directory: Path) -> int:
    return sum(one.stat().st_size for one in directory.rglob("*") if one.is_file())


def test_command_whose_server_went_away_says_where_to_go_on(tmp_path: Path) -> None:
    with running_server(tmp_path) as server:
        with server.client() as client:
            client.create_model("m")
            registered(client, "m", LARGE, tmp_path / "sent")
        left = tmp_path / f"got{SUFFIX}"
        process = begin_download(server, "m", tmp_path / "got")
        wait_for_bytes(left)
        server.kill()
        assert process.wait(STALL_SECONDS) == 8
        assert bytes_in(left) > 0

        server.start()
        done = runner_of(server)(
            "versions", "download", "m", "1", "--to", str(tmp_path / "got")
        )

    assert done.exit_code == 0, done.output
    assert files_of(tmp_path / "got") == LARGE
    assert not left.exists()


@pytest.mark.parametrize("is_there", [True, False])
def test_artifact_that_is_not_what_was_registered_leaves_nothing(
    tmp_path: Path, *, is_there: bool
) -> None:
    """Also of the files that came before it."""
    with running_server(tmp_path) as server, server.client() as client:
        client.create_model("m")
        registered(client, "m", {"a": b"fine", "b": b"good"}, tmp_path / "sent")
        (file,) = (tmp_path / "data" / "artifacts" / "artifacts").rglob("b")
        file.chmod(0o644)
        file.write_bytes(b"evil")
        if is_there:
            (tmp_path / "got").mkdir()
        before = sorted(tmp_path.iterdir())

        with pytest.raises(errors.RegistryError):
            client.download("m", 1, tmp_path / "got")

    assert sorted(tmp_path.iterdir()) == before
    assert list((tmp_path / "got").rglob("*")) == []
