"""The table of planted faults names modules and tests that are there."""

import ast
import re
from pathlib import Path

TESTS = Path(__file__).parents[1]
ROWS = re.findall(
    r"^\| ([\w/]*) +\| .+ \| `(.+)/(\w+)::(\w+)` \|$",
    (TESTS / "README.md").read_text("utf-8").partition("## Planted faults")[2],
    re.MULTILINE,
)


def test_every_planted_fault_has_a_test_that_finds_it() -> None:
    assert len(ROWS) > 60
    for _, directory, name, sentence in ROWS:
        module = ast.parse((TESTS / directory / f"test_{name}.py").read_text("utf-8"))
        functions = {each.name for each in module.body if hasattr(each, "name")}
        assert f"test_{sentence}" in functions, (name, sentence)


def test_every_planted_fault_is_in_a_module_that_is_there() -> None:
    root = TESTS.parent
    for place in {row[0] for row in ROWS} - {""}:
        found = [root / each / f"{place}.py" for each in (".", "registry")]
        assert any(path.exists() for path in found), place
