"""Artifacts: uploaded, sealed, listed, downloaded whole or in part."""

import base64
import hashlib
from urllib.parse import quote

import pytest

from registry.artifacts import hashing
from registry.artifacts.store import ArtifactStore
from registry.domain.manifests import Manifest
from tests.integration.api.driver import (
    FILES,
    MODEL,
    Driver,
    declared,
    document_of,
    problem_of,
)

ONE = f"/models/{MODEL}/versions/1"
FILE = f"{ONE}/artifacts/model.bin"
CONTENT = FILES["model.bin"]
SHA256 = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture
def pending(api: Driver) -> Driver:
    """A registry whose version 1 waits for its upload."""
    api.create_model()
    api.register()
    return api


@pytest.fixture
def sealed(pending: Driver) -> Driver:
    """A registry whose version 1 holds ``FILES``."""
    pending.upload(1)
    return pending


def test_upload_address_is_our_own_where_the_store_signs_none(
    pending: Driver,
) -> None:
    answer = pending.post(f"{ONE}/uploads", {"path": "a b/c?.bin", "size_bytes": 3})

    document = document_of(answer)
    assert answer.status_code == 200
    assert document["method"] == "PUT"
    assert document["headers"] == {}
    assert document["url"] == f"http://localhost/api/v1{ONE}/artifacts/a%20b/c%3F.bin"
    assert pending.client.put(document["url"], data=b"123").status_code == 201


def test_uploaded_file_is_answered_with_its_size_and_digest(pending: Driver) -> None:
    answer = pending.put(FILE, data=CONTENT)

    assert answer.status_code == 201
    assert document_of(answer) == {
        "path": "model.bin",
        "size_bytes": len(CONTENT),
        "sha256": SHA256,
    }


def test_finalized_version_is_ready_and_pinned_by_its_digest(pending: Driver) -> None:
    waiting = pending.version(1)["source"]

    version = pending.upload(1)

    assert version == pending.version(1)
    assert version["status"] == "READY"
    assert version["verified"] is True
    assert version["artifact_digest"].startswith("sha256:")
    assert version["artifact_size_bytes"] == sum(map(len, FILES.values()))
    assert version["source"] != waiting


def test_two_versions_of_the_same_files_have_one_digest(api: Driver) -> None:
    api.create_model()
    digests = {api.upload(api.register())["artifact_digest"] for _ in range(2)}

    assert len(digests) == 1


def test_file_uploaded_again_replaces_the_first_one(pending: Driver) -> None:
    pending.put(FILE, data=b"draft")

    assert pending.upload(1)["status"] == "READY"
    assert pending.get(FILE).data == CONTENT


def test_upload_larger_than_the_limit_of_bodies_is_taken(pending: Driver) -> None:
    large = b"0123456789abcdef" * (2 * 1024 * 1024 // 16)

    version = pending.upload(1, {"model.bin": large})

    assert version["artifact_size_bytes"] == len(large)
    assert pending.get(FILE).data == large


def test_finalizing_again_answers_the_same_and_records_nothing(sealed: Driver) -> None:
    before, entries = sealed.version(1), len(sealed.audit())

    answer = sealed.post(f"{ONE}/finalize", declared(FILES))

    assert answer.status_code == 200
    assert document_of(answer) == before
    assert len(sealed.audit()) == entries


def test_settled_artifact_takes_no_more_changes(sealed: Driver) -> None:
    refused = (
        sealed.put(FILE, data=b"other"),
        sealed.post(f"{ONE}/uploads", {"path": "new.bin", "size_bytes": 1}),
        sealed.post(f"{ONE}/finalize", declared({"model.bin": b"other"})),
        sealed.post(f"{ONE}/abort", {}),
    )

    for answer in refused:
        problem = problem_of(answer, 409, "conflict")
        assert "READY: its artifact is settled" in problem["detail"]
    assert sealed.get(FILE).data == CONTENT


WRONG = {
    "another digest": (
        {"model.bin": b"weighty"},
        {"model.bin": b"weights"},
        "sha256",
    ),
    "another size": ({"model.bin": b"weight"}, {"model.bin": b"weights"}, "bytes"),
    "a file missing": ({}, {"model.bin": b"weights"}, "no artifact"),
    "a file too many": (
        {"model.bin": b"weights", "more.bin": b""},
        {"model.bin": b"weights"},
        "more.bin is not in the manifest",
    ),
    "one of two missing": (
        {"model.bin": b"weights"},
        {"model.bin": b"weights", "more.bin": b""},
        "more.bin is missing",
    ),
}


@pytest.mark.parametrize(("uploaded", "said", "reason"), WRONG.values(), ids=WRONG)
def test_upload_that_is_not_what_was_declared_fails_with_the_reason(
    pending: Driver, uploaded: dict[str, bytes], said: dict[str, bytes], reason: str
) -> None:
    for path, content in uploaded.items():
        pending.put(f"{ONE}/artifacts/{path}", data=content)

    answer = pending.post(f"{ONE}/finalize", declared(said))

    version = document_of(answer)
    assert answer.status_code == 200
    assert version["status"] == "FAILED_REGISTRATION"
    assert reason in version["status_message"]
    assert version["verified"] is False
    problem_of(pending.move(1, "Staging"), 409, "transition-refused")


@pytest.mark.parametrize("is_inline", [True, False])
def test_upload_fails_with_the_reason_whatever_names_it_quotes(
    pending: Driver, monkeypatch: pytest.MonkeyPatch, *, is_inline: bool
) -> None:
    """More combining marks than a text may have."""
    if not is_inline:
        monkeypatch.setattr("registry.services.artifacts.INLINE_BYTES", 3)
    name = "a" + "\u0301" * 120
    for path in (name, "model.bin"):
        pending.put(f"{ONE}/artifacts/{quote(path)}", data=b"weights")

    pending.post(f"{ONE}/finalize", declared({"model.bin": b"weights"}))
    pending.work_in_background()

    version = pending.version(1)
    assert version["status"] == "FAILED_REGISTRATION"
    assert "is not in the manifest" in version["status_message"]


def test_registration_given_up_has_failed_with_the_reason(pending: Driver) -> None:
    answer = pending.post(f"{ONE}/abort", {"reason": "the disk was full"})

    version = document_of(answer)
    assert answer.status_code == 200
    assert version["status"] == "FAILED_REGISTRATION"
    assert version["status_message"] == "the disk was full"
    problem_of(pending.put(FILE, data=b""), 409, "conflict")


def test_files_are_listed_by_path_and_paged(sealed: Driver) -> None:
    first = sealed.read(f"{ONE}/artifacts?limit=1")
    second = sealed.read(f"{ONE}/artifacts?limit=1&cursor={first['next_cursor']}")

    paths = [file["path"] for page in (first, second) for file in page["items"]]
    assert paths == ["data/labels.txt", "model.bin"]
    assert second["items"][0]["sha256"] == SHA256
    assert second["next_cursor"] is None


def test_pending_version_lists_no_files_and_has_none_to_download(
    pending: Driver,
) -> None:
    pending.put(FILE, data=CONTENT)

    assert pending.read(f"{ONE}/artifacts")["items"] == []
    problem = problem_of(pending.get(FILE), 404, "artifact-not-found")
    assert "PENDING_REGISTRATION" in problem["detail"]


def test_file_is_downloaded_as_an_attachment_with_its_digests(sealed: Driver) -> None:
    answer = sealed.get(f"{ONE}/artifacts/data/labels.txt")

    sha256 = hashlib.sha256(answer.data).digest()
    assert answer.status_code == 200
    assert answer.data == FILES["data/labels.txt"]
    assert answer.headers["ETag"] == f'"{sha256.hex()}"'
    encoded = base64.b64encode(sha256).decode()
    assert answer.headers["Repr-Digest"] == f"sha-256=:{encoded}:"
    assert answer.headers["Content-Disposition"] == "attachment; filename=labels.txt"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["Accept-Ranges"] == "bytes"


def test_download_of_an_unchanged_file_is_answered_304(sealed: Driver) -> None:
    answer = sealed.get(FILE, headers={"If-None-Match": f'"{SHA256}"'})

    assert answer.status_code == 304
    assert answer.data == b""


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ("bytes=0-2", (b"wei", "bytes 0-2/7")),
        ("bytes=3-", (b"ghts", "bytes 3-6/7")),
        ("bytes=-2", (b"ts", "bytes 5-6/7")),
        ("bytes=0-99", (b"weights", "bytes 0-6/7")),
        ("bytes=-99", (b"weights", "bytes 0-6/7")),
    ],
)
def test_range_of_a_file_is_answered_206(
    sealed: Driver, asked: str, expected: tuple[bytes, str]
) -> None:
    answer = sealed.get(FILE, headers={"Range": asked})

    assert answer.status_code == 206
    assert (answer.data, answer.headers["Content-Range"]) == expected
    assert answer.content_length == len(expected[0])


@pytest.mark.parametrize("asked", ["bytes=7-", "bytes=99-100"])
def test_range_behind_the_end_is_answered_416_with_the_size(
    sealed: Driver, asked: str
) -> None:
    answer = sealed.get(FILE, headers={"Range": asked})

    problem_of(answer, 416, "requested-range-not-satisfiable")
    assert answer.headers["Content-Range"] == "bytes */7"


@pytest.mark.parametrize(
    "headers",
    [
        {"Range": "lines=0-1"},
        {"Range": "bytes=0-1,3-4"},
        {"Range": "bytes=x"},
        {"Range": "bytes=0-1", "If-Range": '"another"'},
        {"Range": "bytes=0-1", "If-Range": "Fri, 20 Nov 2026 12:00:00 GMT"},
    ],
)
def test_range_that_cannot_be_kept_is_answered_with_the_whole_file(
    sealed: Driver, headers: dict[str, str]
) -> None:
    answer = sealed.get(FILE, headers=headers)

    assert answer.status_code == 200
    assert answer.data == CONTENT


def test_download_goes_on_where_it_was_cut_when_the_file_is_the_same(
    sealed: Driver,
) -> None:
    headers = {"Range": "bytes=3-", "If-Range": f'"{SHA256}"'}

    answer = sealed.get(FILE, headers=headers)

    assert answer.status_code == 206
    assert answer.data == CONTENT[3:]


def test_empty_file_is_downloaded_as_such(pending: Driver) -> None:
    pending.upload(1, {"empty": b""})

    answer = pending.get(f"{ONE}/artifacts/empty")

    assert (answer.status_code, answer.data) == (200, b"")


def test_absent_file_is_not_found(sealed: Driver) -> None:
    problem = problem_of(
        sealed.get(f"{ONE}/artifacts/absent"), 404, "artifact-not-found"
    )

    assert "'absent'" in problem["detail"]


def test_large_upload_is_left_to_the_background(
    pending: Driver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("registry.services.artifacts.INLINE_BYTES", 3)

    waiting = pending.upload(1)
    pending.work_in_background()

    assert waiting["status"] == "PENDING_REGISTRATION"
    assert waiting["status_message"] == "the artifact is being hashed"
    assert pending.version(1)["status"] == "READY"
    assert pending.version(1)["status_message"] == ""
    assert pending.get(FILE).data == CONTENT
    assert pending.audit()[-1]["actor"] == {
        "kind": "system",
        "name": "stagegate",
        "id": "",
        "roles": ["admin"],
    }


def test_large_upload_that_is_not_as_declared_fails_in_the_background(
    pending: Driver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("registry.services.artifacts.INLINE_BYTES", 3)
    pending.put(FILE, data=b"weighty")

    pending.post(f"{ONE}/finalize", declared({"model.bin": b"weights"}))
    pending.work_in_background()

    assert pending.version(1)["status"] == "FAILED_REGISTRATION"
    assert "sha256" in pending.version(1)["status_message"]


def test_version_given_up_while_it_waits_stays_given_up(
    pending: Driver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("registry.services.artifacts.INLINE_BYTES", 3)
    pending.upload(1)
    pending.post(f"{ONE}/abort", {"reason": "no longer needed"})

    pending.work_in_background()

    assert pending.version(1)["status_message"] == "no longer needed"


def test_version_given_up_while_it_is_hashed_stays_given_up(
    pending: Driver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("registry.services.artifacts.INLINE_BYTES", 3)
    pending.upload(1)
    seal_upload = hashing.seal_upload

    def give_up_meanwhile(
        store: ArtifactStore, source: str, target: str, manifest: Manifest
    ) -> Manifest:
        pending.post(f"{ONE}/abort", {"reason": "no longer needed"})
        return seal_upload(store, source, target, manifest)

    monkeypatch.setattr("registry.artifacts.hashing.seal_upload", give_up_meanwhile)
    pending.work_in_background()

    assert pending.version(1)["status_message"] == "no longer needed"
