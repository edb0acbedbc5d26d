"""Building a program that is to be had as a Go module only, as MinIO is.

- ``go install`` of one pinned version; the caller keeps the program in the cache.
- A Go too old to fetch a newer one by itself (before 1.21; Debian 12 has 1.19)
  is given the newer one as the Go module that holds it.
"""

import json
import os
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

TOOLCHAIN_MODULE = "golang.org/toolchain"
TOOLCHAIN_VERSION = "v0.0.1-go1.24.2"
FIRST_MINOR_VERSION_WITH_TOOLCHAINS = 21


class GoBuildError(RuntimeError):
    """Go could not build the program."""


def can_build() -> bool:
    return shutil.which("go") is not None


def build(package: str, target: Path) -> None:
    """Build ``package`` (``path@version``) as the program ``target``.

    The finished program appears there at once or never; its file name must be the
    one that Go gives it.

    Raises:
        GoBuildError: Go failed; what it said is on the error output.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix="build-") as directory:
        environment = _environment()
        go = _new_enough_go(environment)
        environment |= {"GOBIN": directory, "CGO_ENABLED": "0"}
        _run([go, "install", package], environment)
        (Path(directory) / target.name).replace(target)


def _environment() -> dict[str, str]:
    environment = dict(os.environ)
    # GOFLAGS may ask for a vendor directory, which does not fit the building of
    # a module by its version.
    environment.pop("GOFLAGS", None)
    if not environment.get("HOME"):
        environment["HOME"] = str(Path.home())
    return environment


def _new_enough_go(environment: dict[str, str]) -> str:
    found = re.search(r"go1\.(\d+)", _run(["go", "version"], environment))
    if found is None or int(found.group(1)) >= FIRST_MINOR_VERSION_WITH_TOOLCHAINS:
        return "go"
    architecture = _run(["go", "env", "GOARCH"], environment).strip()
    module = f"{TOOLCHAIN_MODULE}@{TOOLCHAIN_VERSION}.linux-{architecture}"
    answer = _run(["go", "mod", "download", "-json", module], environment)
    root = Path(json.loads(answer)["Dir"])
    # A module's archive keeps no permissions, and its directory is read-only.
    for directory in ("bin", f"pkg/tool/linux_{architecture}"):
        for program in (root / directory).iterdir():
            program.chmod(0o755)
    environment["GOROOT"] = str(root)
    environment["GOTOOLCHAIN"] = "local"
    return str(root / "bin" / "go")


def _run(command: list[str], environment: dict[str, str]) -> str:
    answer = subprocess.run(
        command, env=environment, stdout=subprocess.PIPE, text=True, check=False
    )
    if answer.returncode != 0:
        raise GoBuildError(f"{' '.join(command)} failed")
    return answer.stdout
