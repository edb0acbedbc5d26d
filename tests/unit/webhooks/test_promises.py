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
    *folders, module = file.split("/")
    module = module if module.startswith("test_") else f"test_{module}"
    found = list((CHECKOUT / "tests").rglob("/".join([*folders, f"{module}.py"])))

    texts = [path.read_text("utf-8") for path in found]
    assert any(f"\ndef test_{name}(" in text for text in texts), found


def test_every_planted_fault_is_in_a_module_that_is_there() -> None:
    table = FAULTS.partition("## Planted faults")[2]
    places = set(re.findall(r"^\| ([\w/]+) \| .* \| `", table, flags=re.MULTILINE))

    assert "persistence/apply" in places
    for place in places:
        paths = [CHECKOUT / "registry" / place, CHECKOUT / place]
        assert any(path.with_suffix(".py").exists() for path in paths), place


def test_every_benchmark_that_is_named_is_there() -> None:
    assert set(main.commands) >= BENCHES
    assert {name for name in BENCHES if f"`{name}`" not in PAGE} == set()


def test_every_scenario_has_its_line() -> None:
    numbers = re.findall(r"^\| (\d+) \|", PAGE, flags=re.MULTILINE)

    assert numbers == [str(number) for number in range(1, 37)]
