"""Downloads beside each other, and such as break off, from real servers."""

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest

from registry import errors
from registry.client import RegistryClient
from registry.client.staging import SUFFIX
from tests.deploy.places import CHECKOUT
from tests.integration.artifacts.test_names import files_of
from tests.integration.cli.conftest import runner_of
from tests.server import RunningServer, running_server
from tests.silent_proxy import SilentProxy
from tests.waiting import STALL_SECONDS, wait_for

AT_ONCE = "tests.integration.artifacts.downloads_at_once"
MEBIBYTE = 1024 * 1024
#: Far more than a connection holds of what nobody has read yet.
LARGE = {"weights.bin": os.urandom(MEBIBYTE) * 32}
#: So much of it arrives before a download breaks off.
SOME_BYTES = 2 * MEBIBYTE
TINY = {f"part-{number:03}.txt": b"%d" % number for number in range(100)}


def registered(
    client: RegistryClient, model: str, files: Mapping[str, bytes], directory: Path
) -> None:
    directory.mkdir()
    for name, content in files.items():
        (directory / name).write_bytes(content)
    client.register(model, directory)


def begin(
    server: RunningServer, *command: str, url: str = ""
) -> subprocess.Popen[bytes]:
    """Start a module of ours as the admin of ``server``."""
    ours = {"STAGEGATE_URL": url or server.url, "STAGEGATE_TOKEN": server.token}
    return subprocess.Popen(
        [sys.executable, "-m", *command],
        env={**os.environ, **ours},
        cwd=CHECKOUT,
        stdout=subprocess.DEVNULL,
    )


@contextmanager
def download_halfway(
    server: RunningServer, model: str, to: Path
) -> Iterator[tuple[subprocess.Popen[bytes], SilentProxy]]:
    """A process that has got some bytes, and hears of no more."""
    with SilentProxy(server.port, most_bytes=SOME_BYTES) as proxy:
        url = f"http://127.0.0.1:{proxy.port}"
        arguments = ("versions", "download", model, "1", "--to", str(to))
        process = begin(server, "registry.cli.main", *arguments, url=url)
        wait_for(lambda: bytes_in(to.with_name(f"{to.name}{SUFFIX}")))
        yield process, proxy


@pytest.fixture(scope="module")
def mortal_server(
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[RunningServer]:
    """One that tests kill and start again."""
    with running_server(tmp_path_factory.mktemp("mortal")) as server:
        yield server


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

    arguments = ("versions", "download", model, "1", "--to", str(shared))
    process = begin(local_server, AT_ONCE, str(at_once), *arguments)

    assert process.wait(STALL_SECONDS) == 0
    assert files_of(shared) == files
    assert list(shared.parent.iterdir()) == [shared]


def test_download_outlives_a_restart_of_the_server(
    mortal_server: RunningServer, tmp_path: Path
) -> None:
    model = tmp_path.name
    with mortal_server.client() as client:
        client.create_model(model)
        registered(client, model, LARGE, tmp_path / "sent")
        restarts: list[int] = []

        def restart_once(done: int, _total: int) -> None:
            if done and not restarts:
                restarts.append(done)
                mortal_server.kill()
                mortal_server.start()

        client.download(model, 1, tmp_path / "got", on_progress=restart_once)

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
        left = tmp_path / f"got{SUFFIX}"
        with download_halfway(local_server, model, tmp_path / "got") as (process, _):
            process.kill()
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


def bytes_in(directory: Path) -> int:
    return sum(one.stat().st_size for one in directory.rglob("*") if one.is_file())


def test_command_whose_server_went_away_says_where_to_go_on(
    mortal_server: RunningServer, tmp_path: Path
) -> None:
    server, model, got = mortal_server, tmp_path.name, tmp_path / "got"
    with server.client() as client:
        client.create_model(model)
        registered(client, model, LARGE, tmp_path / "sent")
    left = tmp_path / f"got{SUFFIX}"

    with download_halfway(server, model, got) as (process, proxy):
        server.kill()
        proxy.speak()
        code = process.wait(STALL_SECONDS)
    had = bytes_in(left)
    server.start()
    done = runner_of(server)("versions", "download", model, "1", "--to", str(got))

    assert code == 8
    assert 0 < had < len(LARGE["weights.bin"])
    assert done.exit_code == 0, done.output
    assert files_of(tmp_path / "got") == LARGE
    assert not left.exists()


@pytest.mark.parametrize("is_there", [True, False])
def test_artifact_that_is_not_what_was_registered_leaves_nothing(
    local_server: RunningServer, tmp_path: Path, *, is_there: bool
) -> None:
    """Also of the files that came before it."""
    model = tmp_path.name
    last = f"last-of-{model}"
    with local_server.client() as client:
        client.create_model(model)
        registered(client, model, {"a": b"fine", last: b"good"}, tmp_path / "sent")
        (file,) = (local_server.directory / "data" / "artifacts").rglob(last)
        file.chmod(0o644)
        file.write_bytes(b"evil")
        if is_there:
            (tmp_path / "got").mkdir()
        before = sorted(tmp_path.iterdir())

        with pytest.raises(errors.RegistryError):
            client.download(model, 1, tmp_path / "got")

    assert sorted(tmp_path.iterdir()) == before
    assert list((tmp_path / "got").rglob("*")) == []
