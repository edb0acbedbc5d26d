"""What the README has to tell before anybody reads further."""

from pathlib import Path

README = (Path(__file__).parents[2] / "README.md").read_text("utf-8")


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
