"""A root file system that stands in for the image's base.

- No registry of images is asked: ``debootstrap`` makes a minimal Debian of the
  machine's own release, with Python, from where the machine's apt gets its
  packages.
- It is kept as a tar file in the cache, and made again when that is missing or
  a month old.
"""

import os
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

from tests.deploy.places import cache_directory
from tests.services.absence import report_absence

PACKAGES = ("ca-certificates", "python3", "python3-venv")
KEPT_SECONDS = 30 * 24 * 3600


def base_archive() -> Path:
    """The tar file of the root file system, made now when it is not there."""
    release = _release()
    archive = cache_directory() / f"base-{release}-python3.tar"
    if not _is_fresh(archive):
        _make(archive, release)
    return archive


def _release() -> str:
    lines = Path("/etc/os-release").read_text("utf-8").splitlines()
    values = dict(line.split("=", 1) for line in lines if "=" in line)
    name = values.get("VERSION_CODENAME", "").strip('"')
    if values.get("ID") != "debian" or not name:
        report_absence("the stand-in for the image's base is made on Debian only")
    return name


def _is_fresh(archive: Path) -> bool:
    return archive.exists() and time.time() - archive.stat().st_mtime < KEPT_SECONDS


def _make(archive: Path, release: str) -> None:
    """Make the tar file; it appears finished or never."""
    if shutil.which("debootstrap") is None or os.geteuid() != 0:
        report_absence("debootstrap is not there, or this is not root")
    archive.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=archive.parent, prefix="base-") as scratch:
        root = Path(scratch) / "root"
        _run(
            *("debootstrap", "--variant=minbase", f"--include={','.join(PACKAGES)}"),
            *(release, str(root), _mirror(release)),
            environment=_proxy(),
        )
        finished = Path(scratch) / archive.name
        left_out = ("./var/cache/apt/archives/*.deb", "./var/lib/apt/lists/*")
        _run(
            *("tar", "--create", "--numeric-owner", f"--directory={root}"),
            *(f"--exclude={pattern}" for pattern in left_out),
            *(f"--file={finished}", "."),
        )
        finished.replace(archive)


def _mirror(release: str) -> str:
    """Where this machine's apt gets the packages of its release."""
    listed = _run(
        *("apt-get", "indextargets", "--format", "$(RELEASE) $(REPO_URI)"),
        "Identifier: Packages",
    )
    addresses = dict(line.split(" ", 1) for line in listed.splitlines())
    if release not in addresses:
        report_absence(f"apt has no package list of {release}; run apt-get update")
    return addresses[release]


def _proxy() -> dict[str, str]:
    """The proxy apt uses, as debootstrap understands it."""
    command = ("apt-config", "shell", "PROXY", "Acquire::http::Proxy")
    _, _, quoted = _run(*command).strip().partition("=")
    return {"http_proxy": quoted.strip("'")} if quoted else {}


def _run(*command: str, environment: dict[str, str] | None = None) -> str:
    finished = subprocess.run(
        command,
        env=os.environ | (environment or {}),
        check=False,
        capture_output=True,
        text=True,
        timeout=900,
    )
    assert finished.returncode == 0, finished.stdout[-4000:] + finished.stderr[-4000:]
    return finished.stdout
