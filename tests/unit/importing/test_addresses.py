"""Which source a version is registered with, if it names a version itself."""

from collections.abc import Iterator

import pytest

from registry.client import RegistryClient
from registry.errors import InvalidInputError, RegistryError
from registry.importing.addresses import Addresses
from registry.importing.mlflow_source import MlflowServer
from registry.importing.states import (
    FROM_TAG,
    SOURCE_TAG,
    SourceModel,
    SourceVersion,
    names_registered,
    registered_version,
)
from registry.importing.writer import find_here
from tests.unit.fake_registry import FakeRegistry, version_document
from tests.unit.importing.mlflow_pages import MlflowPages, error_answer

PROXIED = "mlflow-artifacts:/1/run-3/artifacts/model"
HERE = "/models/base/versions/3"


@pytest.fixture
def fake() -> Iterator[FakeRegistry]:
    """The registry here."""
    with FakeRegistry() as running:
        yield running


@pytest.fixture
def addresses(pages: MlflowPages, fake: FakeRegistry) -> Iterator[Addresses]:
    pages.addresses["prod", "1"] = PROXIED
    with (
        MlflowServer(pages.fake.url, environ={}) as server,
        RegistryClient(fake.url, "sg_pat_test", timeout_seconds=5) as client,
    ):
        yield Addresses(server, find_here(client))


def address_of(addresses: Addresses, source: str) -> str:
    version = SourceVersion(number=1, source=source)
    return addresses.address_of(SourceModel(name="prod"), version)


def test_a_copy_goes_by_its_name_where_the_named_one_is_the_same_here(
    addresses: Addresses, pages: MlflowPages, fake: FakeRegistry
) -> None:
    pages.version("base", 3, source=PROXIED)
    fake.json("GET", HERE, version_document(3, source=PROXIED))

    assert address_of(addresses, "models:/base/3") == "models:/base/3"


def test_the_named_one_is_the_same_by_the_source_that_it_had(
    addresses: Addresses, pages: MlflowPages, fake: FakeRegistry
) -> None:
    pages.version("base", 3, source="models:/m-1")
    tags = {SOURCE_TAG: "models:/m-1"}
    fake.json("GET", HERE, version_document(3, source="s3://b/1", tags=tags))

    assert address_of(addresses, "models:/base/3") == "models:/base/3"


@pytest.mark.parametrize(
    "sources",
    [
        (PROXIED, "s3://bucket/another"),
        (PROXIED, None),
        ("", None),
        ("/mlruns/1/model", "/mlruns/1/model"),
    ],
)
def test_a_copy_of_what_is_another_one_here_is_refused(
    addresses: Addresses,
    pages: MlflowPages,
    fake: FakeRegistry,
    sources: tuple[str, str | None],
) -> None:
    there, here = sources
    pages.version("base", 3, source=there)
    fake.json("GET", HERE, version_document(3, source=here))

    with pytest.raises(InvalidInputError, match="of this name here is not the one at"):
        address_of(addresses, "models:/base/3")


def test_a_copy_of_a_copy_needs_one_that_an_import_from_there_made(
    addresses: Addresses, pages: MlflowPages, fake: FakeRegistry
) -> None:
    """Made here by hand, it may be a copy of another ``first`` 1."""
    pages.version("base", 3, source="models:/first/1")
    copy = version_document(3, source="models:/first/1")
    by_hand: dict[str, str] = {}
    from_elsewhere = {FROM_TAG: "http://other.example"}
    for tags in (by_hand, from_elsewhere, {FROM_TAG: pages.fake.url}):
        fake.json("GET", HERE, {**copy, "tags": tags})

    for _ in (by_hand, from_elsewhere):
        with pytest.raises(InvalidInputError, match="is not the one at"):
            address_of(addresses, "models:/base/3")
    assert address_of(addresses, "models:/base/3") == "models:/base/3"


def test_a_copy_of_what_is_to_come_waits(
    addresses: Addresses, pages: MlflowPages, fake: FakeRegistry
) -> None:
    pages.version("base", 3, source=PROXIED)
    fake.problem("GET", HERE, "not-found", status=404)

    with pytest.raises(RegistryError, match="not here yet") as caught:
        address_of(addresses, "models:/base/3")

    assert not isinstance(caught.value, InvalidInputError), "its number is not given up"


def test_a_copy_of_what_was_deleted_at_the_source_is_refused(
    addresses: Addresses, fake: FakeRegistry
) -> None:
    with pytest.raises(InvalidInputError, match="any more, so that nobody knows"):
        address_of(addresses, "models:/base/3")

    assert fake.asked == []


@pytest.mark.parametrize("source", ["models:/base@best", "models:/base/Staging"])
def test_a_name_that_may_come_to_mean_another_version_is_refused(
    addresses: Addresses, source: str
) -> None:
    with pytest.raises(InvalidInputError, match="no version by its number"):
        address_of(addresses, source)


@pytest.mark.parametrize("source", ["models:/m-1", "runs:/run-3/model", PROXIED])
def test_what_names_no_version_goes_as_it_is(
    addresses: Addresses, fake: FakeRegistry, source: str
) -> None:
    assert address_of(addresses, source) == source
    assert fake.asked == []


def test_a_copy_whose_store_is_known_needs_nobody(
    addresses: Addresses, pages: MlflowPages, fake: FakeRegistry
) -> None:
    pages.addresses["prod", "1"] = "s3://bucket/3"

    assert address_of(addresses, "models:/base/3") == "s3://bucket/3"
    assert fake.asked == []


def test_a_source_that_cannot_say_now_what_a_copy_is_of_is_asked_again(
    addresses: Addresses, pages: MlflowPages
) -> None:
    pages.no_address = error_answer(500, "INTERNAL_ERROR", "database is locked")

    with pytest.raises(RegistryError, match="database is locked") as caught:
        address_of(addresses, "models:/base/3")

    assert not isinstance(caught.value, InvalidInputError)


@pytest.mark.parametrize(
    ("source", "named"),
    [
        ("models:/base/3", ("base", 3)),
        ("models:/a@b/03", ("a@b", 3)),
        ("models:/base/latest", None),
        ("MODELS:/base@best", None),
    ],
)
def test_names_of_versions_are_known_by_their_form(
    source: str, named: tuple[str, int] | None
) -> None:
    assert names_registered(source)
    assert registered_version(source) == named
