"""Names as a real name server gives them, through the system's own resolver."""

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.deploy.places import CHECKOUT
from tests.integration.webhooks.dns_child import HOSTILE
from tests.services.absence import report_absence

REFUSED = "The host could not be resolved to an allowed address."
ALONE = ("unshare", "--net", "--mount", "--propagation=private")


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What came of each name, sent to in a network of its own."""
    if (
        shutil.which("unshare") is None
        or subprocess.run([*ALONE, "true"], check=False, capture_output=True).returncode
    ):
        report_absence("a process cannot have a network of its own here")
    resolv_conf: Path = tmp_path_factory.mktemp("names") / "resolv.conf"
    resolv_conf.write_text(
        "nameserver 127.0.0.1\noptions edns0 timeout:1 attempts:1\n", encoding="ascii"
    )
    child = "tests.integration.webhooks.dns_child"
    ended = subprocess.run(
        [*ALONE, sys.executable, "-m", child, str(resolv_conf)],
        cwd=CHECKOUT,
        check=False,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert ended.returncode == 0, ended.stderr
    answer: dict[str, Any] = json.loads(ended.stdout)
    return answer


@pytest.mark.parametrize("name", [name for name in HOSTILE if name != "rebinding.test"])
def test_a_name_that_fails_or_leads_inside_is_refused_in_the_same_words(
    found: dict[str, Any], name: str
) -> None:
    assert found[name] == [REFUSED, REFUSED]


def test_a_name_that_turns_inside_between_two_attempts_is_refused(
    found: dict[str, Any],
) -> None:
    first, second = found["rebinding.test"]

    # A public address is allowed, and is not to be reached from that network.
    assert first == "no connection could be made"
    assert second == REFUSED


def test_nothing_inside_was_reached_by_any_of_them(found: dict[str, Any]) -> None:
    assert found["reached"] == 0


def test_a_name_that_the_operator_allows_is_reached(found: dict[str, Any]) -> None:
    assert found["good.test"] == [200, 1]


def test_64_black_holed_addresses_of_one_name_end_at_the_limit(
    found: dict[str, Any],
) -> None:
    assert found["holes.test"] == ["no connection in time", ["name"]]
