"""The examples as files: whole, well formed, and safe with what events say."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests.integration.examples import places

SCRIPTS = places.scripts()
CUSTOM_KINDS = {
    "EventSource",
    "Sensor",
    "EventListener",
    "TriggerBinding",
    "TriggerTemplate",
}


@pytest.mark.parametrize(
    ("schema", "example"),
    [
        ("vendor.github-workflows", places.GITHUB),
        ("custom.github-workflows-require-timeout", places.GITHUB),
        ("vendor.gitlab-ci", places.GITLAB),
    ],
)
def test_pipeline_keeps_to_the_schema_of_its_platform(
    schema: str, example: Path
) -> None:
    command = (sys.executable, "-m", "check_jsonschema", "--builtin-schema", schema)

    checked = subprocess.run(
        [*command, example], check=False, capture_output=True, text=True
    )

    assert checked.returncode == 0, checked.stdout + checked.stderr


@pytest.mark.parametrize("example", [places.ARGO, places.TEKTON])
def test_objects_of_kubernetes_itself_keep_to_its_schema(
    example: Path, tmp_path: Path
) -> None:
    objects = [
        one
        for one in places.documents(example)
        if one["apiVersion"] == "v1" or one["apiVersion"].startswith("rbac.")
    ]
    if example == places.ARGO:
        job = places.argo_job()
        objects.append(job)
    manifest = tmp_path / "objects.yaml"
    manifest.write_text(yaml.safe_dump_all(objects))

    checked = subprocess.run(
        [sys.executable, "-m", "kubernetes_validate", "--strict", manifest],
        check=False,
        capture_output=True,
        text=True,
    )

    assert checked.returncode == 0, checked.stdout + checked.stderr
    assert len(objects) >= 3


@pytest.mark.parametrize("example", [places.ARGO, places.TEKTON])
def test_what_a_manifest_refers_to_is_in_it_or_named_as_a_precondition(
    example: Path,
) -> None:
    objects = places.documents(example)
    own = {(one["kind"], one["metadata"]["name"]) for one in objects}
    accounts = re.findall(r"serviceAccountName: (\S+)", example.read_text("utf-8"))
    head = example.read_text("utf-8").partition("apiVersion")[0]

    assert accounts
    assert {("ServiceAccount", name) for name in accounts} <= own
    for one in objects:
        if one["kind"].endswith("Binding") and "subjects" in one:
            (subject,) = one["subjects"]
            assert (subject["kind"], subject["name"]) in own
    for name in ("stagegate-webhook", "stagegate-client", "models"):
        assert name in head
    assert own >= {(kind, "stagegate") for kind in CUSTOM_KINDS & {k for k, _ in own}}


@pytest.mark.parametrize("place", sorted(SCRIPTS))
def test_script_is_a_script(place: str) -> None:
    checked = subprocess.run(
        ["bash", "-n"],
        input=SCRIPTS[place],
        check=False,
        capture_output=True,
        text=True,
    )

    assert checked.returncode == 0, checked.stderr
    assert checked.stderr == ""


@pytest.mark.parametrize("place", sorted(SCRIPTS))
def test_nothing_of_an_event_becomes_part_of_a_script(place: str) -> None:
    """``${{ … }}`` and ``$(params.…)`` are filled before a shell reads the script."""
    assert re.findall(r"\$\{\{|\$\((?:tt\.)?(?:params|body)\b", SCRIPTS[place]) == []


@pytest.mark.parametrize("place", sorted(SCRIPTS))
def test_no_script_shows_its_commands_or_the_token(place: str) -> None:
    shown = re.findall(r"set -\w*x|echo .*DEPLOYMENT_TOKEN(?!=)", SCRIPTS[place])

    assert shown == []


def test_actions_of_others_are_pinned_by_hash() -> None:
    used = [step["uses"] for step in places.github_job()["steps"] if "uses" in step]

    assert used
    assert all(re.fullmatch(r"[\w-]+/[\w-]+@[0-9a-f]{40}", one) for one in used)


def test_flask_receiver_is_short() -> None:
    assert len(places.FLASK.read_text("utf-8").splitlines()) <= 60


def test_readme_names_every_example() -> None:
    readme = places.README.read_text("utf-8")
    files = [one.name for one in places.EXAMPLES.iterdir() if one.is_file()]

    assert [name for name in files if name not in readme] == ["README.md"]
