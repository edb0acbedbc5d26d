"""The pages of promises and of planted faults name tests that there are."""

import re

import pytest

from tests.bench.__main__ import main
from tests.deploy.places import CHECKOUT

PAGE = (CHECKOUT / "webhooks/PROMISES.md").read_text("utf-8")
FAULTS = (CHECKOUT / "tests/README.md").read_text("utf-8")
NAMED = sorted(set(re.findall(r"`([\w/]+)::(\w+)`", PAGE + FAULTS)))
#: The commands that the page sends its reader to.
BENCHES = {"order", "latency", "throughput", "dead-endpoint", "fleet", "hostile"}


@pytest.mark.parametrize(("file", "name"), NAMED)
def test_every_test_that_is_named_is_there(file: str, name: str) -> None:
    folder, _, module = file.rpartition("/")
    module = module if module.startswith("test_") else f"test_{module}"
    found = [
        path
        for path in (CHECKOUT / "tests").rglob(f"{module}.py")
        if folder in path.parent.parts or not folder
    ]

    texts = [path.read_text("utf-8") for path in found]
    assert any(f"\ndef test_{name}(" in text for text in texts), found


def test_every_benchmark_that_is_named_is_there() -> None:
    assert set(main.commands) >= BENCHES
    assert {name for name in BENCHES if f"`{name}`" not in PAGE} == set()


def test_every_scenario_has_its_line() -> None:
    numbers = re.findall(r"^\| (\d+) \|", PAGE, flags=re.MULTILINE)

    assert numbers == [str(number) for number in range(1, 37)]
