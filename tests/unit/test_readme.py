"""What the READMEs tell is there, and what has to be told first is."""

import re

import pytest

from tests.deploy.places import CHECKOUT

README = (CHECKOUT / "README.md").read_text("utf-8")
PACKAGES = ("registry", "webhooks", "tests")
#: A path below a package, as READMEs name it; after a dot a name in it, or its ending.
NAMED = re.compile(r"`((?:[a-z_]+/)+\w+)(\.[a-z]+)?(?:\.\w+)*`")
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
IN_DRAWING = re.compile(r"(?<![\w/.])((?:[a-z_]+/)+[a-z_]+)(\.[a-z]+)?")


def test_what_databricks_clients_may_not_expect_is_said_where_they_begin() -> None:
    (told,) = [part for part in README.split("\n\n") if "`databricks-sdk`" in part]

    for call in (
        *("`job_spec`", "permissions for each model"),
        *("`delete_model`", "`delete_model_version`", "`delete_…_tag`"),
        *("`list_models`", "registry/mlflow_api/databricks/README.md"),
    ):
        assert call in told


def test_the_open_registry_of_a_tracking_server_is_warned_of() -> None:
    assert "The tracking server still has a registry and a page of its own" in README


@pytest.mark.parametrize("package", PACKAGES)
def test_modules_that_its_readme_names_are_there(package: str) -> None:
    text = (CHECKOUT / package / "README.md").read_text("utf-8")
    drawn = "".join(
        block for language, block in BLOCK.findall(text) if language in {"", "text"}
    )
    named = {*NAMED.findall(text), *IN_DRAWING.findall(drawn)}
    roots = [CHECKOUT, *(CHECKOUT / name for name in PACKAGES)]

    assert named
    assert {
        path
        for path, ending in named
        if not any(
            (root / f"{path}{end}").exists()
            for root in (*roots, CHECKOUT / "tests/integration")
            for end in ("", ".py", ending)
        )
    } == set()
