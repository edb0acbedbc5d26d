"""An artifact of many small files: its list is longer than other bodies may be."""

import json
import os
from pathlib import Path

import pytest

from registry.api.artifacts import MAX_LIST_BYTES
from registry.app import MAX_BODY_BYTES
from tests.integration.api.driver import (
    Document,
    Driver,
    declared,
    document_of,
    problem_of,
)
from tests.server import running_server

FINALIZE = "/models/fraud/versions/1/finalize"


#: Where the paths are so long, few files make a long list.
DEEP = "/".join(letter * 240 for letter in "abcd") + "/"


def small_files(count: int, below: str) -> dict[str, bytes]:
    return {
        f"part-{number // 500:03}/{below}{number:05}.txt": b"%d" % number
        for number in range(count)
    }


@pytest.fixture(
    params=[
        (1_100, DEEP),
        pytest.param((10_000, ""), marks=pytest.mark.long),
        pytest.param((20_000, ""), marks=pytest.mark.long),
    ],
    ids=lambda param: str(param[0]),
)
def uploaded(
    api: Driver,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    request: pytest.FixtureRequest,
) -> tuple[Driver, Document]:
    """So many files where their uploads would have left them, and their list."""
    # A power cut is not what is tested, and each would cost milliseconds.
    monkeypatch.setattr(os, "fsync", lambda _descriptor: None)
    api.create_model()
    api.register()
    api.put("/models/fraud/versions/1/artifacts/part-000/00000.txt", data=b"0")
    (first,) = (tmp_path / "data" / "artifacts").rglob("00000.txt")
    first.unlink()
    files = small_files(*request.param)
    for path, content in files.items():
        file = first.parents[1] / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
    listed = declared(files)
    assert len(json.dumps(listed)) > MAX_BODY_BYTES
    return api, listed


def test_directory_of_thousands_of_files_is_registered(
    uploaded: tuple[Driver, Document],
) -> None:
    api, files = uploaded

    accepted = document_of(api.post(FINALIZE, files))
    api.work_in_background()

    assert accepted["status"] == "PENDING_REGISTRATION"
    assert api.version(1)["status"] == "READY", api.version(1)["status_message"]
    *_, last = (file["path"] for file in files["files"])
    content = api.get(f"/models/fraud/versions/1/artifacts/{last}").data
    assert content == b"%d" % (len(files["files"]) - 1)


def test_list_of_files_has_a_limit_of_its_own(api: Driver) -> None:
    api.create_model()
    api.register()
    before = api.dump()

    answer = api.post(FINALIZE, {"files": ["a" * MAX_LIST_BYTES]})

    problem_of(answer, 413, "too-large")
    assert api.dump() == before


@pytest.mark.long
def test_client_sends_a_list_that_is_longer_than_other_bodies(tmp_path: Path) -> None:
    source = tmp_path / "source"
    home = source / DEEP
    home.mkdir(parents=True)
    for number in range(1_100):
        (home / f"{number:05}").write_text(str(number), encoding="utf-8")
    with running_server(tmp_path) as server, server.client() as client:
        client.create_model("fraud")

        version = client.register("fraud", source)

        assert version.status == "READY"
