"""The file of SQLite is removed or replaced under the server."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from flask import Flask
from sqlalchemy.exc import OperationalError

from registry.persistence.database import write_transaction
from tests.integration.api.driver import MODEL, Driver, problem_of
from tests.integration.conftest import close_app, make_app, signed_in
from tests.receiver import Receiver

Harm = Callable[[Path], None]


def remove(file: Path) -> None:
    file.unlink()


def remove_with_log(file: Path) -> None:
    for each in file.parent.glob(f"{file.name}*"):
        each.unlink()


def remove_log(file: Path) -> None:
    file.with_name(f"{file.name}-wal").unlink()


def move_away(file: Path) -> None:
    file.rename(file.with_name("elsewhere.db"))


def replace_by_a_copy(file: Path) -> None:
    shutil.copy(file, file.with_name("copy.db"))
    file.with_name("copy.db").replace(file)


def replace_by_nothing(file: Path) -> None:
    file.unlink()
    file.touch()


@pytest.fixture
def app(tmp_path: Path) -> Iterator[Flask]:
    """One of its own: what happens to its file is remembered."""
    app = make_app(tmp_path)
    yield app
    close_app(app)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "data" / "stagegate.db"


@pytest.fixture
def api(app: Flask) -> Driver:
    return Driver(app, signed_in(app))


@pytest.mark.parametrize(
    "harm",
    [
        remove,
        remove_with_log,
        remove_log,
        move_away,
        replace_by_a_copy,
        replace_by_nothing,
    ],
)
def test_changes_are_refused_and_the_process_is_not_ready(
    api: Driver, file: Path, harm: Harm
) -> None:
    api.create_model()
    harm(file)
    left = set(file.parent.iterdir())

    for answer in (
        api.post("/models", {"name": "lost"}),
        api.patch(f"/models/{MODEL}", {"description": "lost"}),
        api.delete(f"/models/{MODEL}"),
    ):
        problem_of(answer, 503, "unavailable")
    with pytest.raises(OperationalError, match="removed or replaced"):  # noqa: SIM117  # what raises
        with write_transaction(api.engine):
            pytest.fail("this change would be lost")
    probe = api.app.test_client().get("/readyz")
    assert probe.status_code == 503
    assert "removed or replaced" in probe.get_data(as_text=True)
    assert api.app.test_client().get("/healthz").status_code == 200
    # No empty database is made in its place.
    assert set(file.parent.iterdir()) <= left


def test_file_that_is_put_back_is_served_from_again(api: Driver, file: Path) -> None:
    api.create_model()
    elsewhere = file.with_name("elsewhere.db")
    file.rename(elsewhere)
    problem_of(api.post("/models", {"name": "lost"}), 503, "unavailable")

    elsewhere.rename(file)

    assert api.post("/models", {"name": "kept"}).status_code == 201
    assert api.app.test_client().get("/readyz").status_code == 200


def test_connections_that_were_all_closed_find_the_file_as_it_was(
    app: Flask, api: Driver
) -> None:
    api.create_model()
    for _ in range(3):
        close_app(app)
        assert api.patch(f"/models/{MODEL}", {"description": "x"}).status_code == 200


def test_deliveries_stop_rather_than_be_lost(
    api: Driver, file: Path, receiver: Receiver
) -> None:
    assert api.post("/webhooks", {"url": receiver.url}).status_code == 201
    api.create_model()
    elsewhere = file.with_name("elsewhere.db")
    file.rename(elsewhere)

    with pytest.raises(OperationalError, match="removed or replaced"):
        api.parts.dispatcher.run_once()

    assert receiver.requests == ()
    elsewhere.rename(file)
    assert api.parts.dispatcher.run_once() == 1


def test_new_start_serves_from_what_is_there(tmp_path: Path, file: Path) -> None:
    app = make_app(tmp_path)
    Driver(app, signed_in(app)).create_model()
    close_app(app)
    replace_by_a_copy(file)

    again = make_app(tmp_path)
    api = Driver(again, signed_in(again))

    assert [item["name"] for item in api.read("/models")["items"]] == [MODEL]
    close_app(again)
