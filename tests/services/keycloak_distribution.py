"""Keycloak's distribution, which Maven fetches (160 MB) and unpacks here once."""

import contextlib
import re
import shutil
import subprocess
import tempfile
import zipfile
from functools import cache
from pathlib import Path

from tests.services.cache import cache_directory

VERSION = "26.4.0"
ARTIFACT = f"org.keycloak:keycloak-quarkus-dist:{VERSION}:zip"
MIN_JAVA = 17
WITHOUT_KEYCLOAK = f"no Java {MIN_JAVA} with Maven that can fetch {ARTIFACT}"


def directory() -> Path:
    """Where the unpacked distribution is kept from one run to the next."""
    return cache_directory() / f"keycloak-{VERSION}"


def find() -> Path | None:
    """The unpacked distribution, where there is Java to run it."""
    is_there = (directory() / "bin" / "kc.sh").exists()
    return directory() if is_there and _has_java() else None


def describe() -> str:
    """What the tests will sign in at, in half a line."""
    if find():
        return f"Keycloak {VERSION} ({directory()})"
    if _has_java() and shutil.which("mvn"):
        return f"Keycloak {VERSION}, to be fetched first (160 MB, once)"
    return f"MISSING: {WITHOUT_KEYCLOAK}"


def provide() -> Path | None:
    """The distribution, fetched now when that is still to be done."""
    if find() or not (_has_java() and shutil.which("mvn")):
        return find()
    target = directory()
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix="unpack-") as name:
        archive = _fetch(Path(name))
        if archive is None:
            return None
        with zipfile.ZipFile(archive) as distribution:
            distribution.extractall(name)
        unpacked = Path(name) / f"keycloak-{VERSION}"
        (unpacked / "bin" / "kc.sh").chmod(0o755)
        with contextlib.suppress(OSError):  # another run was faster
            unpacked.rename(target)
    return find()


def _fetch(directory: Path) -> Path | None:
    """Have Maven fetch the archive into a repository of its own, below a directory.

    Its usual one is in the home of the account, whatever ``HOME`` says.
    """
    repository = directory / "repository"
    fetched = subprocess.run(
        [
            *("mvn", "-q", f"-Dmaven.repo.local={repository}", "dependency:get"),
            *(f"-Dartifact={ARTIFACT}", "-Dtransitive=false"),
        ],
        check=False,
    )
    found = repository.rglob(f"keycloak-quarkus-dist-{VERSION}.zip")
    return next(found, None) if fetched.returncode == 0 else None


@cache
def _has_java() -> bool:
    if not shutil.which("java"):
        return False
    said = subprocess.run(
        ["java", "-version"], capture_output=True, text=True, check=False
    ).stderr
    found = re.search(r'version "(\d+)', said)
    return found is not None and int(found[1]) >= MIN_JAVA
