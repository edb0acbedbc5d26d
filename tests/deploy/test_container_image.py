"""The image: built, looked into, and run the way it is deployed."""

import shutil
import subprocess
from pathlib import Path

import pytest
import requests

from tests.deploy.image import REVISION, Image, base_name
from tests.deploy.places import project_version
from tests.deploy.pod import UID, Pod
from tests.services.processes import free_port, stop, wait_until_ready

pytestmark = [pytest.mark.long, pytest.mark.service]


def test_program_runs_as_the_fixed_unprivileged_user(image: Image) -> None:
    assert image.run("id", "-u") == str(UID)
    assert image.run("id", "-g") == str(UID)
    assert image.config["User"] == f"{UID}:{UID}"


def test_program_says_the_version_of_the_project(image: Image) -> None:
    assert project_version() in image.run("stagegate", "--version")


def test_image_serves_unless_told_otherwise(image: Image) -> None:
    assert image.config["Entrypoint"] == ["stagegate"]
    assert image.config["Cmd"][0] == "serve"
    assert image.config["Volumes"] == {"/var/lib/stagegate": {}}
    assert "8000/tcp" in image.config["ExposedPorts"]


def test_image_says_what_it_is(image: Image) -> None:
    labels = {
        name.removeprefix("org.opencontainers.image."): value
        for name, value in image.config["Labels"].items()
    }

    assert labels["version"] == project_version()
    assert labels["revision"] == REVISION
    assert labels["licenses"] == "Apache-2.0"


def test_image_has_no_compiler_and_no_installer_of_its_own(image: Image) -> None:
    directories = ("opt/stagegate/bin", "usr/local/bin", "usr/bin", "bin")
    path = ":".join(str(image.root / directory) for directory in directories)

    compilers = [
        name for name in ("cc", "gcc", "make") if shutil.which(name, path=path)
    ]

    assert compilers == []
    assert list(image.root.glob("opt/stagegate/bin/pip*")) == []


def test_image_carries_the_policy_in_its_two_places(image: Image) -> None:
    packages = "opt/stagegate/lib/python3*/site-packages/registry/config/policy.toml"
    (packaged,) = image.root.glob(packages)

    mounted = image.root / "etc/stagegate/policy.toml"

    assert packaged.read_bytes() == mounted.read_bytes()


def test_build_leaves_nothing_of_this_machine_in_the_image(image: Image) -> None:
    pip_conf = image.root / "etc/pip.conf"
    names = {setting.partition("=")[0] for setting in image.environment}

    assert not pip_conf.exists() or pip_conf.read_bytes() == b""
    assert names == {
        "PATH",
        "HOME",
        "PYTHONDONTWRITEBYTECODE",
        "PYTHONUNBUFFERED",
        "TMPDIR",
        "STAGEGATE_DATA_DIR",
        "STAGEGATE_POLICY_FILE",
    }


def test_pod_can_write_its_data_and_tmp_and_nothing_else(pod: Pod) -> None:
    refused = pod.run("touch", "/var/tmp/probe")  # noqa: S108 - open to all elsewhere
    allowed = pod.run("touch", "/tmp/probe", "/var/lib/stagegate/probe")  # noqa: S108

    assert "Read-only file system" in refused.stderr
    assert allowed.returncode == 0, allowed.stderr


def test_database_is_migrated_with_a_read_only_root(pod: Pod) -> None:
    upgraded = pod.run("stagegate", "db", "upgrade")
    again = pod.run("stagegate", "db", "upgrade")

    assert upgraded.returncode == 0, upgraded.stderr
    assert again.returncode == 0, again.stderr
    assert (pod.data / "stagegate.db").exists()


def test_server_answers_with_a_read_only_root_and_ends_when_told(
    pod: Pod, tmp_path: Path
) -> None:
    port = free_port()
    address = f"http://127.0.0.1:{port}"
    log_file = tmp_path / "serve.log"
    with log_file.open("wb") as log:
        server = subprocess.Popen(
            pod.command(
                "stagegate", "serve", "--host", "127.0.0.1", "--port", str(port)
            ),
            stdout=log,
            stderr=subprocess.STDOUT,
        )

    try:
        wait_until_ready(
            server,
            lambda: is_ok(f"{address}/readyz"),
            log_file=log_file,
        )
        assert is_ok(f"{address}/healthz")
        assert is_found_healthy(pod, port)
    finally:
        stop(server)

    assert server.returncode == 0, log_file.read_text("utf-8")


def is_ok(url: str) -> bool:
    try:
        return requests.get(url, timeout=2).ok
    except requests.RequestException:
        return False


def is_found_healthy(pod: Pod, port: int) -> bool:
    """What the image's own health check says, asked at this port."""
    kind, *check = pod.image.config["Healthcheck"]["Test"]
    assert kind == "CMD"
    return pod.run(*(part.replace("8000", str(port)) for part in check)).returncode == 0


def test_base_can_be_named_by_whoever_builds() -> None:
    assert base_name().startswith("docker.io/library/python:3.")
