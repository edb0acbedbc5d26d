"""Making a version: uploads, links, and what happens when they break off."""

import hashlib
import os
from pathlib import Path

import pytest

from registry import errors
from registry.client import EffectKey, RegistryClient
from registry.client.uploads import HashingReader, artifact_digest, local_files
from tests.unit.fake_registry import (
    Answer,
    Asked,
    FakeRegistry,
    json_answer,
    version_document,
)

VERSIONS = "/models/fraud/versions"
PENDING = version_document(status="PENDING_REGISTRATION")


@pytest.fixture
def model_directory(tmp_path: Path) -> Path:
    directory = tmp_path / "model"
    (directory / "deep").mkdir(parents=True)
    (directory / "weights.bin").write_bytes(b"w" * 300_000)
    (directory / "deep" / "a b%.txt").write_bytes(b"text")
    (directory / "empty").write_bytes(b"")
    return directory


def receipt(asked: Asked) -> Answer:
    return json_answer({"sha256": hashlib.sha256(asked.body).hexdigest()}, status=201)


def accept_uploads(fake: FakeRegistry, *, base: str | None = None) -> None:
    """Let the registry take uploads itself, or send them to a store at ``base``."""
    fake.json("POST", VERSIONS, PENDING, status=201)

    def target(asked: Asked) -> Answer:
        path = asked.json["path"].replace(" ", "%20")
        own = f"http://elsewhere.example.com/api/v1{VERSIONS}/1/artifacts/"
        own += path.replace("%.", "%25.")
        url = f"{base}/bucket/{path}?signature=s" if base else own
        return json_answer({"method": "PUT", "url": url, "headers": {"X-Sum": "1"}})

    fake.on("POST", f"/api/v1{VERSIONS}/1/uploads", target)
    fake.json("POST", f"{VERSIONS}/1/finalize", version_document())
    fake.json("POST", f"{VERSIONS}/1/abort", version_document(status="FAILED"))


def test_a_directory_is_uploaded_file_by_file_and_finalized(
    fake: FakeRegistry, client: RegistryClient, model_directory: Path
) -> None:
    accept_uploads(fake)
    for path in ("deep/a%20b%25.txt", "empty", "weights.bin"):
        fake.on("PUT", f"/api/v1{VERSIONS}/1/artifacts/{path}", receipt)
    progress: list[tuple[int, int]] = []

    version = client.register(
        "fraud",
        model_directory,
        on_progress=lambda done, total: progress.append((done, total)),
        run_id="r1",
        metrics={"auc": 0.9},
    )

    assert version.status == "READY"
    (created,) = fake.asked_for("POST", VERSIONS)
    assert created.json == {"run_id": "r1", "metrics": {"auc": 0.9}}
    (finalized,) = fake.asked_for("POST", f"{VERSIONS}/1/finalize")
    assert finalized.json["files"] == [
        {
            "path": path,
            "size_bytes": len(body),
            "sha256": hashlib.sha256(body).hexdigest(),
        }
        for path, body in [
            ("deep/a b%.txt", b"text"),
            ("empty", b""),
            ("weights.bin", b"w" * 300_000),
        ]
    ]
    assert progress[0] == (0, 300_004)
    assert progress[-1] == (300_004, 300_004)
    puts = [one for one in fake.asked if one.method == "PUT"]
    assert [one.headers["Content-Length"] for one in puts] == ["4", "0", "300000"]
    assert all(one.headers["Authorization"].startswith("Bearer") for one in puts)
    assert all(one.headers["X-Sum"] == "1" for one in puts)


def test_a_presigned_upload_does_not_carry_our_token(
    fake: FakeRegistry, client: RegistryClient, tmp_path: Path
) -> None:
    (tmp_path / "m.bin").write_bytes(b"abc")
    accept_uploads(fake, base=fake.url)
    fake.on("PUT", "/bucket/m.bin", lambda _: Answer(200))

    client.register("fraud", str(tmp_path / "m.bin"))

    (put,) = [one for one in fake.asked if one.method == "PUT"]
    assert put.body == b"abc"
    assert put.query == {"signature": "s"}
    assert "Authorization" not in put.headers


def test_an_upload_that_a_gateway_lost_is_sent_again_from_the_start(
    fake: FakeRegistry, client: RegistryClient, tmp_path: Path
) -> None:
    (tmp_path / "m.bin").write_bytes(b"abc")
    accept_uploads(fake)
    fake.on(
        "PUT", f"/api/v1{VERSIONS}/1/artifacts/m.bin", lambda _: Answer(503), receipt
    )

    client.register("fraud", tmp_path / "m.bin")

    puts = [one.body for one in fake.asked if one.method == "PUT"]
    assert puts == [b"abc", b"abc"]


def test_a_file_that_arrives_as_another_is_found_and_the_version_given_up(
    fake: FakeRegistry, client: RegistryClient, tmp_path: Path
) -> None:
    (tmp_path / "m.bin").write_bytes(b"abc")
    accept_uploads(fake)
    fake.json("PUT", f"{VERSIONS}/1/artifacts/m.bin", {"sha256": "0" * 64})

    with pytest.raises(errors.ArtifactChangedError, match=r"m\.bin arrived"):
        client.register("fraud", tmp_path / "m.bin")

    (aborted,) = fake.asked_for("POST", f"{VERSIONS}/1/abort")
    assert "arrived with another digest" in aborted.json["reason"]


def test_a_version_is_given_up_even_if_the_reason_cannot_be_stored(
    fake: FakeRegistry, client: RegistryClient, tmp_path: Path
) -> None:
    (tmp_path / "m.bin").write_bytes(b"abc")
    accept_uploads(fake)
    fake.forget("POST", f"{VERSIONS}/1/abort")
    fake.problem("POST", f"{VERSIONS}/1/abort", "invalid", status=422)
    fake.json("POST", f"{VERSIONS}/1/abort", version_document(status="FAILED"))

    def interrupt(_done: int, _total: int) -> None:
        raise KeyboardInterrupt("ж")

    with pytest.raises(KeyboardInterrupt):
        client.register("fraud", tmp_path / "m.bin", on_progress=interrupt)

    asked = fake.asked_for("POST", f"{VERSIONS}/1/abort")
    assert [one.json["reason"] for one in asked] == ["ж", "'\\u0436'"]


def test_ctrl_c_gives_the_version_up(
    fake: FakeRegistry, client: RegistryClient, tmp_path: Path
) -> None:
    (tmp_path / "m.bin").write_bytes(b"abc")
    accept_uploads(fake)

    def interrupt(_done: int, _total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        client.register("fraud", tmp_path / "m.bin", on_progress=interrupt)

    (aborted,) = fake.asked_for("POST", f"{VERSIONS}/1/abort")
    assert aborted.json == {"reason": "KeyboardInterrupt"}


def test_the_first_error_is_told_even_when_giving_up_fails(
    fake: FakeRegistry, client: RegistryClient, tmp_path: Path
) -> None:
    (tmp_path / "m.bin").write_bytes(b"abc")
    fake.json("POST", VERSIONS, PENDING)
    fake.problem("POST", f"{VERSIONS}/1/uploads", "invalid", status=422)
    fake.problem("POST", f"{VERSIONS}/1/abort", "conflict", status=409)

    with pytest.raises(errors.InvalidInputError):
        client.register("fraud", tmp_path / "m.bin")


def test_a_version_that_is_hashed_in_the_background_is_waited_for(
    fake: FakeRegistry, client: RegistryClient
) -> None:
    fake.json("POST", VERSIONS, PENDING, status=201)
    fake.json("GET", f"{VERSIONS}/1", PENDING)
    fake.json("GET", f"{VERSIONS}/1", version_document())

    version = client.register("fraud", "s3://models/fraud/1")

    assert version.status == "READY"
    (created,) = fake.asked_for("POST", VERSIONS)
    assert created.json == {"source": "s3://models/fraud/1"}


def test_a_registration_that_fails_says_why(
    fake: FakeRegistry, client: RegistryClient
) -> None:
    failed = version_document(status="FAILED_REGISTRATION", status_message="gone")
    fake.json("POST", VERSIONS, failed)

    with pytest.raises(errors.RegistryError, match="version 1 failed: gone"):
        client.register("fraud", "s3://models/fraud/1")


def test_a_registration_that_takes_too_long_is_left_to_the_server(
    fake: FakeRegistry, client: RegistryClient
) -> None:
    fake.json("POST", VERSIONS, PENDING)
    fake.json("GET", f"{VERSIONS}/1", PENDING)

    with pytest.raises(errors.WaitTimeoutError):
        client.register("fraud", "s3://models/fraud/1", wait_seconds=0)

    assert not fake.asked_for("POST", f"{VERSIONS}/1/abort")


def test_nothing_to_upload_leaves_no_version_behind(
    fake: FakeRegistry, client: RegistryClient, tmp_path: Path
) -> None:
    with pytest.raises(errors.InvalidInputError, match="does not exist"):
        client.register("fraud", tmp_path / "absent")
    with pytest.raises(errors.InvalidInputError, match="holds no file"):
        client.register("fraud", tmp_path)

    assert fake.asked == []


def test_links_to_files_of_the_same_directory_are_followed(tmp_path: Path) -> None:
    model = tmp_path / "model"
    (model / "blobs").mkdir(parents=True)
    (model / "blobs" / "1f").write_bytes(b"abc")
    (model / "weights").symlink_to("blobs/1f")
    (tmp_path / "latest").symlink_to(model)

    for source in (model, tmp_path / "latest"):
        found = {one.path: one.size_bytes for one in local_files(source)}
        assert found == {"blobs/1f": 3, "weights": 3}


@pytest.mark.parametrize("target", ["/etc/passwd", "../blob", "chain", "../model2/a"])
def test_a_link_that_leads_out_is_refused_unless_links_are_to_be_followed(
    tmp_path: Path, target: str
) -> None:
    (tmp_path / "blob").write_bytes(b"abc")
    (tmp_path / "model").mkdir()
    (tmp_path / "model2").mkdir()
    (tmp_path / "model2" / "a").write_bytes(b"abc")
    (tmp_path / "model" / "deep").mkdir()
    (tmp_path / "model" / "deep" / "chain").symlink_to(tmp_path / "blob")
    link = tmp_path / "model" / ("deep/link" if target == "chain" else "link")
    link.symlink_to(target)
    if target != "chain":
        (tmp_path / "model" / "deep" / "chain").unlink()

    with pytest.raises(errors.InvalidInputError, match="outside of") as caught:
        local_files(tmp_path / "model")
    followed = local_files(tmp_path / "model", follow_links=True)

    assert "--follow-links" in caught.value.message
    assert link.name in [one.path.rpartition("/")[2] for one in followed]


def test_a_link_to_a_directory_is_refused_unless_links_are_to_be_followed(
    tmp_path: Path,
) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "a").write_bytes(b"abc")
    (tmp_path / "model" / "data").symlink_to(tmp_path / "data")

    with pytest.raises(errors.InvalidInputError, match="link to a directory"):
        local_files(tmp_path / "model")

    (found,) = local_files(tmp_path / "model", follow_links=True)
    assert found.path == "data/a"


@pytest.mark.parametrize("target", [".", "..", "../other"])
def test_links_in_a_circle_are_refused(tmp_path: Path, target: str) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "back").symlink_to(tmp_path / "model")
    (tmp_path / "model" / "loop").symlink_to(target)

    with pytest.raises(errors.InvalidInputError, match="lies in"):
        local_files(tmp_path / "model", follow_links=True)


def test_hidden_files_are_named_before_anything_is_sent(
    fake: FakeRegistry, client: RegistryClient, tmp_path: Path
) -> None:
    for name in (".env", ".git/config", ".git/refs/heads/main", "a/.b/c", "a/d.e"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    told: list[list[str]] = []

    def stop(hidden: list[str]) -> None:
        told.append(hidden)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        client.register("fraud", tmp_path, on_hidden=stop)
    with (
        pytest.warns(UserWarning, match=r"\.env, \.git/, a/\.b/"),
        pytest.raises(errors.RegistryError),
    ):
        client.register("fraud", tmp_path)

    assert told == [[".env", ".git/", "a/.b/"]]
    assert fake.asked[0].path.endswith("/uploads/check")


def test_names_are_judged_by_the_server_before_there_is_a_version(
    fake: FakeRegistry, client: RegistryClient, model_directory: Path
) -> None:
    fake.problem("POST", "/uploads/check", "invalid", status=422)

    with pytest.raises(errors.InvalidInputError):
        client.register("fraud", model_directory)

    (asked,) = fake.asked
    assert asked.json == {"paths": ["deep/a b%.txt", "empty", "weights.bin"]}


def test_a_dangling_link_and_a_pipe_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "gone").symlink_to(tmp_path / "absent")
    os.mkfifo(tmp_path / "pipe")

    with pytest.raises(errors.InvalidInputError, match="cannot be read"):
        local_files(tmp_path / "a")
    with pytest.raises(errors.InvalidInputError, match="is not a file"):
        local_files(tmp_path / "pipe")


def test_names_are_sent_in_the_unicode_form_they_have(tmp_path: Path) -> None:
    names = ["cafe\u0301", "caf\u00e9"]
    for name in names:
        (tmp_path / name).write_bytes(b"")

    assert [one.path for one in local_files(tmp_path)] == names


def test_a_file_that_grows_is_sent_as_long_as_it_was(tmp_path: Path) -> None:
    file = tmp_path / "m"
    file.write_bytes(b"abcdef")

    with file.open("rb") as opened:
        reader = HashingReader(opened, 3, lambda _: None)

        assert b"".join(reader) == b"abc"
        assert reader.read() == b""
        assert reader.tell() == 3
        assert reader.hexdigest() == hashlib.sha256(b"abc").hexdigest()


def test_a_file_that_shrinks_is_an_error(tmp_path: Path) -> None:
    file = tmp_path / "m"
    file.write_bytes(b"abc")

    with file.open("rb") as opened:
        reader = HashingReader(opened, 6, lambda _: None)
        reader.read(3)

        with pytest.raises(errors.ArtifactChangedError, match="shorter"):
            reader.read()


def test_a_version_is_begun_without_an_artifact(
    fake: FakeRegistry, client: RegistryClient
) -> None:
    fake.json(
        "POST", VERSIONS, version_document(status="PENDING_REGISTRATION"), status=201
    )

    begun = client.begin_version("fraud", description="to come")

    assert begun.status == "PENDING_REGISTRATION"
    assert fake.asked_for("POST", VERSIONS)[0].json == {"description": "to come"}
    assert len(fake.asked) == 1


KEY = EffectKey("job-1")
REPLAYED = {"Idempotent_Replayed": "true"}


def test_a_registration_that_was_made_before_is_answered_and_not_made_again(
    fake: FakeRegistry, client: RegistryClient, tmp_path: Path
) -> None:
    (tmp_path / "m.bin").write_bytes(b"abc")
    fake.json("POST", VERSIONS, PENDING, status=201, **REPLAYED)
    fake.json("GET", f"{VERSIONS}/1", version_document(stage="Archived"))

    version = client.register("fraud", tmp_path / "m.bin", idempotency_key=KEY)

    assert (version.stage, version.replayed) == ("Archived", True)
    (created,) = fake.asked_for("POST", VERSIONS)
    assert created.headers["Prefer"] == "handling=lenient"
    assert not fake.asked_for("POST", f"{VERSIONS}/1/finalize")


def test_a_registration_that_is_still_checked_is_waited_for(
    fake: FakeRegistry, client: RegistryClient, tmp_path: Path
) -> None:
    (tmp_path / "m.bin").write_bytes(b"abc")
    checked = {**PENDING, "status_message": "the artifact is being hashed"}
    fake.json("POST", VERSIONS, PENDING, status=201, **REPLAYED)
    for document in (checked, version_document()):
        fake.json("GET", f"{VERSIONS}/1", document)

    version = client.register("fraud", tmp_path / "m.bin", idempotency_key=KEY)

    assert (version.status, version.replayed) == ("READY", True)


@pytest.mark.parametrize(
    "left", [PENDING, version_document(status="FAILED_REGISTRATION")]
)
def test_a_registration_that_came_to_nothing_is_made_anew(
    fake: FakeRegistry,
    client: RegistryClient,
    tmp_path: Path,
    left: dict[str, object],
) -> None:
    (tmp_path / "m.bin").write_bytes(b"abc")
    fake.json("POST", VERSIONS, PENDING, status=201, **REPLAYED)
    fake.json("GET", f"{VERSIONS}/1", left)
    second = {**PENDING, "version": 2}
    fake.json("POST", VERSIONS, second, status=201)
    own = f"/api/v1{VERSIONS}/2/artifacts/m.bin"
    fake.json("POST", f"{VERSIONS}/2/uploads", {"method": "PUT", "url": own})
    fake.on("PUT", own, receipt)
    fake.json("POST", f"{VERSIONS}/2/finalize", version_document(2))

    version = client.register("fraud", tmp_path / "m.bin", idempotency_key=KEY)

    assert (version.version, version.replayed) == (2, False)
    created = fake.asked_for("POST", VERSIONS)
    assert [one.headers["Idempotency-Key"] for one in created] == ["job-1", "job-1-1"]


def test_a_version_that_is_gone_had_been_registered(
    fake: FakeRegistry, client: RegistryClient
) -> None:
    fake.json("POST", VERSIONS, version_document(), status=201, **REPLAYED)
    fake.problem("GET", f"{VERSIONS}/1", "not-found", status=404)

    version = client.register("fraud", "s3://models/fraud", idempotency_key=KEY)

    assert (version.version, version.replayed) == (1, True)
    assert len(fake.asked_for("POST", VERSIONS)) == 1


def test_a_registration_whose_answer_was_lost_on_the_way_goes_on(
    fake: FakeRegistry, client: RegistryClient, tmp_path: Path
) -> None:
    (tmp_path / "m.bin").write_bytes(b"abc")
    fake.on("POST", f"/api/v1{VERSIONS}", lambda _: Answer(503))
    fake.json("POST", VERSIONS, PENDING, status=201, **REPLAYED)
    fake.json("GET", f"{VERSIONS}/1", PENDING)
    own = f"/api/v1{VERSIONS}/1/artifacts/m.bin"
    fake.json("POST", f"{VERSIONS}/1/uploads", {"method": "PUT", "url": own})
    fake.on("PUT", own, receipt)
    fake.json("POST", f"{VERSIONS}/1/finalize", version_document())

    version = client.register("fraud", tmp_path / "m.bin", idempotency_key=KEY)

    assert (version.version, version.replayed) == (1, False)


def test_an_artifact_is_told_from_others_by_names_and_bytes(tmp_path: Path) -> None:
    contents = [{"a": b"1"}, {"a": b"2"}, {"b": b"1"}, {"a": b"1", "b": b""}]
    digests = []
    for number, content in enumerate([*contents, contents[0]]):
        directory = tmp_path / str(number)
        directory.mkdir()
        for name, body in content.items():
            (directory / name).write_bytes(body)
        digests.append(artifact_digest(local_files(directory)))

    assert len(set(digests)) == len(contents)
    assert digests[0] == digests[-1]
