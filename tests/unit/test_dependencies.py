"""What the code imports is what pyproject.toml declares, no less and no more."""

import functools
import re
import sys
import tomllib
from collections.abc import Iterable, Iterator
from importlib.metadata import packages_distributions
from pathlib import Path

from tests.mlflow.environment import REQUIREMENTS

CHECKOUT = Path(__file__).parents[2]
PROJECT = tomllib.loads((CHECKOUT / "pyproject.toml").read_text("utf-8"))
OURS = {"registry", "webhooks", "tests"}
#: Declared, and used without an import.
USED_BY_NAME = {
    "bootstrap-flask": "registry.ui serves the style sheet in it",
    "httptools": "uvicorn parses HTTP with it",
    "uvloop": "uvicorn waits by it",
}

#: What runs in MLflow's own environment, beside what that environment names.
WITH_MLFLOW = {"numpy"}

#: The linter lets each stand on a line of its own.
IMPORT = re.compile(
    r"^\s*(?:from (\w+)[\w.]* import |import (\w+)[\w.]*(?: as \w+)?(?:  #.*)?$)",
    re.MULTILINE,
)

#: Asked for once there is a test to run: it takes a fifth of a second.
distributions = functools.cache(packages_distributions)


def normal(name: str) -> str:
    """The name as indexes compare it (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()


def declared(requirements: Iterable[str]) -> set[str]:
    names = (re.match(r"[A-Za-z0-9._-]+", line) for line in requirements)
    return {normal(name.group()) for name in names if name}


RUNTIME = declared(PROJECT["project"]["dependencies"])
DEMO = declared(PROJECT["project"]["optional-dependencies"]["demo"])
DEV = declared(PROJECT["dependency-groups"]["dev"])
MLFLOW = declared(REQUIREMENTS) | WITH_MLFLOW


def modules(*directories: str) -> Iterator[Path]:
    for directory in directories:
        yield from (CHECKOUT / directory).rglob("*.py")


def imported(files: Iterable[Path]) -> set[str]:
    """The packages of others that these files import, by import name."""
    return {
        package
        for file in files
        for package in imports_in(file)
        if package not in sys.stdlib_module_names and package not in OURS
    }


@functools.cache
def imports_in(file: Path) -> frozenset[str]:
    return frozenset(imports_of(file.read_text("utf-8")))


def imports_of(source: str) -> Iterator[str]:
    """By their lines: to parse a thousand files takes seconds."""
    return (match[1] or match[2] for match in IMPORT.finditer(source))


def owners(package: str) -> set[str]:
    """The distributions that provide an import name."""
    return {normal(name) for name in distributions().get(package, [package])}


def undeclared(packages: Iterable[str], known: set[str]) -> list[str]:
    return sorted(package for package in packages if not owners(package) & known)


def is_of_the_demo(file: Path) -> bool:
    return file.is_relative_to(CHECKOUT / "registry" / "demo")


def test_every_import_of_the_product_is_declared() -> None:
    files = [
        file
        for file in modules("registry", "webhooks", "config")
        if not is_of_the_demo(file)
    ]

    assert undeclared(imported(files), RUNTIME) == []


def test_every_import_of_the_demo_is_declared() -> None:
    files = [file for file in modules("registry") if is_of_the_demo(file)]

    assert undeclared(imported(files), RUNTIME | DEMO) == []


def is_with_mlflow(file: Path) -> bool:
    return file.is_relative_to(CHECKOUT / "tests" / "mlflow")


def test_every_import_of_the_tests_is_declared() -> None:
    files = [file for file in modules("tests") if not is_with_mlflow(file)]

    assert undeclared(imported(files), RUNTIME | DEMO | DEV) == []


def test_every_import_of_the_tests_with_mlflow_is_declared() -> None:
    assert (
        undeclared(imported(modules("tests/mlflow")), RUNTIME | DEMO | DEV | MLFLOW)
        == []
    )


def test_every_declared_package_is_used() -> None:
    packages = imported(modules("registry", "webhooks", "config"))
    used = {owner for package in packages for owner in owners(package)}

    assert sorted((RUNTIME | DEMO) - used - USED_BY_NAME.keys()) == []
    assert sorted(USED_BY_NAME.keys() & used) == []


def test_imports_are_found_wherever_they_stand() -> None:
    source = "import a.b\ndef f():\n    from c.d import e\n    from . import g\n"

    assert list(imports_of(source)) == ["a", "c"]
