"""The wheel: what people install, and nothing of the checkout beside it."""

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).parents[2]
CONFIG = {"policy-open.toml", "policy-strict.toml", "policy.toml"}
FIND = """
import json, registry
from registry.settings import packaged_config
names = ("policy-open.toml", "policy-strict.toml", "policy.toml")
print(json.dumps([registry.__file__, *(str(packaged_config(name)) for name in names)]))
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, made without a look at any package index."""
    directory = tmp_path_factory.mktemp("wheel")
    subprocess.run(
        [
            *(sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps"),
            *("--no-build-isolation", "--disable-pip-version-check"),
            *("--wheel-dir", directory, CHECKOUT),
        ],
        check=True,
        cwd=directory,
    )
    (made,) = directory.glob("*.whl")
    return made


def test_wheel_holds_the_packages_and_their_configuration_alone(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()

    tops = {name.partition("/")[0] for name in names}
    config = [
        name.removeprefix("registry/config/")
        for name in names
        if name.startswith("registry/config/")
    ]
    assert {top for top in tops if not top.endswith(".dist-info")} == {
        "registry",
        "webhooks",
    }
    assert sorted(config) == sorted(CONFIG)
    assert [name for name in names if "/test" in f"/{name}"] == []
    assert {"registry/py.typed", "webhooks/py.typed"} <= set(names)
    assert "webhooks/receiver.py" in names
    assert [name for name in names if "/examples/" in name] == []
    assert "registry/persistence/migrations/script.py.mako" in names


def test_installed_wheel_finds_its_configuration(wheel: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path)

    found = subprocess.run(
        [sys.executable, "-c", FIND],
        check=True,
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(tmp_path)},
    )

    paths = [Path(path) for path in json.loads(found.stdout)]
    assert [path.relative_to(tmp_path).as_posix() for path in paths] == [
        "registry/__init__.py",
        *(f"registry/config/{name}" for name in sorted(CONFIG)),
    ]
    assert all(path.is_file() for path in paths)
