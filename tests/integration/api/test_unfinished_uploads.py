"""Uploads that nobody finished: after a week they fail, and their files go."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from registry.persistence import queries
from registry.worker import BackgroundWork
from tests.integration.api.driver import FILES, ON_BOTH_DATABASES, Driver
from tests.integration.conftest import close_app, make_app, signed_in
from tests.receiver import Receiver

pytestmark = ON_BOTH_DATABASES

ONE = "/models/fraud/versions/1"
REASON = "the upload was not finished within 7 days"
WEEK = timedelta(days=7)


@pytest.fixture
def pending(api: Driver) -> Driver:
    return begin_upload(api)


def begin_upload(api: Driver) -> Driver:
    """Leave a version with a file that was uploaded, and nothing after that."""
    api.create_model()
    api.register()
    assert api.put(f"{ONE}/artifacts/model.bin", data=b"weights").status_code == 201
    return api


def work(api: Driver, *, after: timedelta) -> None:
    """The hourly job, as it would run so long after now."""
    at = datetime.now(UTC) + after
    BackgroundWork(api.app, clock=lambda: at).give_up_uploads()


def stored(directory: Path) -> list[str]:
    """The names of the files that the store holds."""
    root = directory / "data" / "artifacts"
    return sorted(file.name for file in root.rglob("*") if file.is_file())


def test_upload_of_a_week_ago_fails_and_its_files_are_removed(
    pending: Driver, tmp_path: Path
) -> None:
    assert stored(tmp_path) == ["model.bin"]

    work(pending, after=WEEK + timedelta(minutes=1))

    version = pending.version(1)
    assert version["status"] == "FAILED_REGISTRATION"
    assert version["status_message"] == REASON
    assert stored(tmp_path) == []


def test_upload_that_is_given_up_is_audited_and_announced(pending: Driver) -> None:
    pending.post(
        "/webhooks",
        {"url": "http://127.0.0.1:9/", "event_types": ["model_version.updated"]},
    )

    work(pending, after=WEEK + timedelta(minutes=1))

    entry = pending.audit("fraud")[-1]
    assert entry["action"] == "model_version.updated"
    assert entry["actor"]["kind"] == "system"
    assert entry["after"]["status_message"] == REASON
    (webhook,) = pending.read("/webhooks")["items"]
    deliveries = pending.read(f"/webhooks/{webhook['id']}/deliveries")["items"]
    assert [one["event_type"] for one in deliveries] == ["model_version.updated"]


def test_background_looks_for_unfinished_uploads_by_itself(
    tmp_path: Path,
    database: dict[str, str],
    receiver: Receiver,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # Whether this background still lives is asked of the application ever after.
    app = make_app(tmp_path, **database)
    pending = begin_upload(Driver(app, signed_in(app)))
    pending.post(
        "/webhooks", {"url": receiver.url, "event_types": ["model_version.updated"]}
    )
    monkeypatch.setattr("registry.services.uploads.UNFINISHED_FOR", timedelta(0))
    monkeypatch.setattr("registry.worker.GIVE_UP_UPLOADS_EVERY", timedelta(seconds=0.5))
    background = BackgroundWork(pending.app)

    background.start()
    try:
        (request,) = receiver.wait_for(1)
    finally:
        background.stop()
        close_app(app)

    assert request.json()["data"]["status"] == "FAILED_REGISTRATION"


def test_upload_that_still_has_time_is_left_alone(
    pending: Driver, tmp_path: Path
) -> None:
    before = pending.dump()

    work(pending, after=WEEK - timedelta(minutes=1))

    assert pending.dump() == before
    assert stored(tmp_path) == ["model.bin"]


def test_what_is_settled_finalized_or_deleted_is_no_unfinished_upload(
    pending: Driver, monkeypatch: pytest.MonkeyPatch
) -> None:
    pending.ready()
    given_up, large, deleted = (pending.register() for _ in range(3))
    pending.post(f"/models/fraud/versions/{given_up}/abort", {"reason": "a mistake"})
    monkeypatch.setattr("registry.services.artifacts.INLINE_BYTES", 0)
    pending.upload(large, FILES)
    pending.delete(f"/models/fraud/versions/{deleted}")
    pending.upload(1, {"model.bin": b"weights"})
    before = pending.dump()

    work(pending, after=WEEK + timedelta(minutes=1))

    assert pending.dump() == before


def test_upload_that_is_finalized_while_it_is_looked_for_is_kept(
    pending: Driver, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with pending.engine.connect() as cx:
        later = datetime.now(UTC) + WEEK
        looked_for = [queries.oldest_unfinished_upload(cx, created_before=later)]
    monkeypatch.setattr("registry.services.artifacts.INLINE_BYTES", 0)
    pending.upload(1, {"model.bin": b"weights"})
    monkeypatch.setattr(
        queries,
        "oldest_unfinished_upload",
        lambda *_, **__: looked_for.pop() if looked_for else None,
    )
    before = pending.dump()

    work(pending, after=WEEK + timedelta(minutes=1))

    assert pending.dump() == before
    assert stored(tmp_path) == ["model.bin"]
