"""What is sent to the registry here, and what is read from it, in rare cases."""

from collections.abc import Iterator

import pytest

from registry.client import RegistryClient
from registry.errors import RegistryError, WaitTimeoutError
from registry.importing.reading import read_model
from registry.importing.states import (
    SourceModel,
    SourceVersion,
    TargetModel,
    provenance,
)
from registry.importing.writer import NumberTakenError, RegistryWriter
from tests.unit.fake_registry import (
    FakeRegistry,
    model_document,
    version_document,
)
from tests.unit.importing.world import ORIGIN, source_model, source_version

VERSIONS = "/models/fraud/versions"


@pytest.fixture
def fake() -> Iterator[FakeRegistry]:
    with FakeRegistry() as running:
        yield running


@pytest.fixture
def client(fake: FakeRegistry) -> Iterator[RegistryClient]:
    with RegistryClient(fake.url, "sg_pat_test", timeout_seconds=5) as opened:
        yield opened


def address_of(_model: SourceModel, version: SourceVersion) -> str:
    return version.source


@pytest.fixture
def writer(client: RegistryClient) -> RegistryWriter:
    return RegistryWriter(client, ORIGIN, address_of, wait_seconds=0)


def test_a_version_that_got_another_number_is_deleted_at_once(
    fake: FakeRegistry, writer: RegistryWriter
) -> None:
    fake.json("POST", VERSIONS, version_document(3), status=201)
    fake.json("DELETE", f"{VERSIONS}/3", {})
    source = source_model({2: "None"})

    with pytest.raises(NumberTakenError, match="the next one was 3"):
        writer.register("fraud", source, source.versions[2])
    with pytest.raises(NumberTakenError, match="number 2 was not to be had"):
        writer.leave_empty("fraud", 2)

    assert len(fake.asked_for("DELETE", f"{VERSIONS}/3")) == 2


def test_only_what_is_known_of_a_version_is_sent(
    fake: FakeRegistry, writer: RegistryWriter
) -> None:
    fake.json("POST", VERSIONS, version_document(1, source=None), status=201)
    source = source_model({1: "None"})

    made = writer.register("fraud", source, source.versions[1])

    asked = fake.asked_for("POST", VERSIONS)[0]
    assert asked.json == {
        "source": "s3://models/fraud/1",
        "description": "",
        "tags": {"stagegate.import.from": ORIGIN},
    }
    assert asked.headers["Idempotency-Key"]
    assert made.source == "s3://models/fraud/1"


def test_run_and_logged_model_are_sent_where_there_are_any(
    fake: FakeRegistry, writer: RegistryWriter
) -> None:
    fake.json("POST", VERSIONS, version_document(1), status=201)
    version = source_version(
        1, source="models:/m-0a", run_id="r", run_link="https://runs.example/r"
    )

    writer.register("fraud", source_model({}, version), version)

    asked = fake.asked_for("POST", VERSIONS)[0].json
    assert asked["run_id"] == "r"
    assert asked["run_link"] == "https://runs.example/r"
    assert asked["logged_model_id"] == "m-0a"


def test_only_what_a_version_lacks_is_sent(
    fake: FakeRegistry, writer: RegistryWriter
) -> None:
    fake.json("PATCH", "/models/fraud", model_document())
    fake.json("PATCH", f"{VERSIONS}/1", version_document())

    writer.describe("fraud", None, "a model", {})
    writer.describe("fraud", 1, None, {"team": "risk"})

    assert fake.asked_for("PATCH", "/models/fraud")[0].json == {
        "description": "a model"
    }
    assert fake.asked_for("PATCH", f"{VERSIONS}/1")[0].json == {
        "tags": {"team": "risk"}
    }


def test_an_artifact_that_takes_long_is_no_failure(
    fake: FakeRegistry, writer: RegistryWriter
) -> None:
    pending = version_document(status="PENDING_REGISTRATION")
    fake.json("GET", f"{VERSIONS}/1", pending)

    with pytest.raises(WaitTimeoutError, match="still being checked: run the import"):
        writer.wait_until_ready("fraud", 1)


@pytest.mark.parametrize(
    ("status_message", "reason"),
    [("no such object", "no such object"), ("", "it is FAILED_REGISTRATION")],
)
def test_an_artifact_that_failed_its_check_says_why(
    fake: FakeRegistry, writer: RegistryWriter, status_message: str, reason: str
) -> None:
    failed = version_document(
        status="FAILED_REGISTRATION", status_message=status_message
    )
    fake.json("GET", f"{VERSIONS}/1", failed)

    with pytest.raises(RegistryError, match=reason):
        writer.wait_until_ready("fraud", 1)


def test_tags_say_what_the_history_cannot() -> None:
    version = source_version(
        1,
        source="models:/m-1",
        created_at="2026-11-21T12:00:00.000Z",
        created_by="ann",
    )

    tags = provenance(version, ORIGIN, address="s3://bytes")

    assert tags == {
        "stagegate.import.from": ORIGIN,
        "stagegate.import.created_at": "2026-11-21T12:00:00.000Z",
        "stagegate.import.created_by": "ann",
        "stagegate.import.source": "models:/m-1",
    }


def page(*items: object, next_cursor: str | None = None) -> dict[str, object]:
    return {"items": items, "next_cursor": next_cursor}


def read(fake: FakeRegistry, client: RegistryClient, *entries: object) -> TargetModel:
    """Model and version 2 are here; 3 is to come."""
    fake.json("GET", "/models/fraud", model_document())
    fake.json("GET", VERSIONS, page(version_document(2)))
    fake.json("GET", "/models/fraud/history", page())
    fake.json("GET", "/audit", page(*entries))
    found = read_model(client, "fraud", source_model({2: "None", 3: "None"}))
    assert found is not None
    return found


def entry(action: str, version: int | None = None) -> dict[str, object]:
    return {
        "chain": "model:1",
        "n": 1,
        "hash": "h",
        "prev_hash": "p",
        "entry": "{}",
        "action": action,
        "version": version,
    }


def test_the_last_number_is_that_of_the_last_registration(
    fake: FakeRegistry, client: RegistryClient
) -> None:
    found = read(
        fake,
        client,
        entry("model_version.deleted", 4),
        entry("model_version.registered", 4),
        entry("model_version.registered", 9),
    )

    assert found.last_number == 4


def test_a_model_of_that_name_that_was_deleted_says_nothing(
    fake: FakeRegistry, client: RegistryClient
) -> None:
    found = read(
        fake,
        client,
        entry("registered_model.created"),
        entry("model_version.registered", 9),
    )

    assert found.last_number == 2


def test_a_renamed_model_has_the_numbers_that_are_seen(
    fake: FakeRegistry, client: RegistryClient
) -> None:
    """Its first entries go by its old name."""
    assert read(fake, client, entry("registered_model.renamed")).last_number == 2


def test_neither_history_nor_audit_log_are_read_where_nothing_differs(
    fake: FakeRegistry, client: RegistryClient
) -> None:
    fake.json("GET", "/models/fraud", model_document())
    fake.json("GET", VERSIONS, page(version_document(2)))

    read_model(client, "fraud", source_model({2: "None"}))

    assert [one.path for one in fake.asked] == [
        "/api/v1/models/fraud",
        f"/api/v1{VERSIONS}",
    ]


def test_a_version_is_ours_while_its_last_move_was_an_import(
    fake: FakeRegistry, client: RegistryClient
) -> None:
    fake.json("GET", "/models/fraud", model_document())
    fake.json("GET", VERSIONS, page(*(version_document(n) for n in (3, 2, 1))))
    entries = (
        _moved(1, "back again"),
        _moved(1, f"imported from {ORIGIN}"),
        _moved(2, f"imported from {ORIGIN}"),
        _moved(2, "by hand"),
    )
    fake.json("GET", "/models/fraud/history", page(*entries))
    source = source_model({1: "Staging", 2: "Staging", 3: "Staging"})

    found = read_model(client, "fraud", source)

    assert found is not None
    is_ours = {number: one.is_ours for number, one in found.versions.items()}
    assert is_ours == {1: False, 2: True, 3: True}


def test_who_moved_a_version_here_matters_to_a_new_one_that_may_supersede_it(
    fake: FakeRegistry, client: RegistryClient
) -> None:
    fake.json("GET", "/models/fraud", model_document())
    fake.json("GET", VERSIONS, page(version_document(1, stage="Production")))
    fake.json("GET", "/models/fraud/history", page(_moved(1, "by hand")))
    fake.json("GET", "/audit", page(entry("model_version.registered", 1)))

    found = read_model(
        client, "fraud", source_model({1: "Production", 2: "Production"})
    )

    assert found is not None
    assert not found.versions[1].is_ours


def _moved(version: int, reason: str) -> dict[str, object]:
    return {
        "transition_id": "t",
        "version": version,
        "from_stage": "None",
        "to_stage": "Staging",
        "reason": reason,
    }
