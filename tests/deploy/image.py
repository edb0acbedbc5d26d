"""Builds the image from the Dockerfile and runs commands in it, with buildah.

- Storage is a directory of the test run's own and is removed with it; the driver
  is vfs and the isolation chroot, which need no kernel support and no engine.
- pip inside the build is configured as pip outside is, through files mounted for
  the time of the build: nothing of this machine gets into the Dockerfile or, as a
  test checks, into the image.
"""

import ast
import configparser
import contextlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.deploy.base_root import base_archive
from tests.deploy.places import CHECKOUT
from tests.services.absence import report_absence

IMAGE = "localhost/stagegate:test"
REVISION = "revision-of-the-test"


@dataclass(frozen=True, kw_only=True)
class Image:
    """The image in its storage, and one container made from it."""

    storage: Path
    container: str
    root: Path
    config: dict[str, Any]

    @property
    def environment(self) -> list[str]:
        """The variables the image sets, as NAME=value."""
        return list(self.config["Env"])

    def run(self, *command: str) -> str:
        """What the command prints, run in the container as the image's user."""
        return _buildah(self.storage, "run", self.container, "--", *command).strip()


@contextlib.contextmanager
def built_image() -> Iterator[Image]:
    """The image for the time of the block."""
    if shutil.which("buildah") is None or os.geteuid() != 0:
        report_absence("buildah is not there, or this is not root")
    with tempfile.TemporaryDirectory(prefix="stagegate-image-") as directory:
        storage = Path(directory)
        _import_base(storage, base_archive())
        _build(storage)
        container = _buildah(storage, "from", "--pull-never", IMAGE).strip()
        described = _buildah(storage, "inspect", "--type=image", IMAGE)
        yield Image(
            storage=storage,
            container=container,
            root=Path(_buildah(storage, "mount", container).strip()),
            config=json.loads(described)["Docker"]["config"],
        )
        _buildah(storage, "umount", container)


def base_name() -> str:
    """The base the Dockerfile asks for."""
    dockerfile = (CHECKOUT / "Dockerfile").read_text("utf-8")
    (name,) = re.findall(r"^ARG BASE=(\S+)$", dockerfile, re.MULTILINE)
    return str(name)


def _import_base(storage: Path, archive: Path) -> None:
    container = _buildah(storage, "from", "scratch").strip()
    _buildah(storage, "add", "--quiet", container, str(archive), "/")
    _buildah(storage, "commit", "--quiet", "--rm", container, base_name())


def _build(storage: Path) -> None:
    _buildah(
        storage,
        *("build", "--pull-never", "--layers=false", "--format=docker"),
        *(f"--volume={mount}" for mount in _pip_mounts(storage)),
        *("--build-arg", f"REVISION={REVISION}", "--tag", IMAGE, str(CHECKOUT)),
    )


def _pip_mounts(directory: Path) -> Iterator[str]:
    """This machine's pip settings as a pip.conf, and the files it names."""
    settings = _pip_settings()
    written = directory / "pip.conf"
    with written.open("w", encoding="utf-8") as file:
        settings.write(file)
    yield f"{written}:/etc/pip.conf:ro"
    for word in set(written.read_text("utf-8").split()):
        if word.startswith("/") and Path(word).exists():
            yield f"{word}:{word}:ro"


def _pip_settings() -> configparser.RawConfigParser:
    """What pip goes by outside the build, from its files and its environment."""
    listed = subprocess.run(
        [sys.executable, "-m", "pip", "config", "list"],
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    ).stdout
    settings = configparser.RawConfigParser()
    for line in listed.splitlines():
        name, _, value = line.partition("=")
        section, _, key = name.rpartition(".")
        section = section if section.isalpha() else "global"
        if not settings.has_section(section):
            settings.add_section(section)
        settings.set(section, key, str(ast.literal_eval(value)))
    return settings


def _buildah(storage: Path, *arguments: str) -> str:
    finished = subprocess.run(
        [
            *("buildah", "--storage-driver=vfs", f"--root={storage / 'root'}"),
            *(f"--runroot={storage / 'run'}", *arguments),
        ],
        env=os.environ | {"BUILDAH_ISOLATION": "chroot"},
        check=False,
        capture_output=True,
        text=True,
        timeout=900,
    )
    assert finished.returncode == 0, finished.stdout[-4000:] + finished.stderr[-4000:]
    return finished.stdout
