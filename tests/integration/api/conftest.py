"""A registry as the tests of the API drive it."""

from collections.abc import Iterator

import pytest
from flask import Flask
from flask.testing import FlaskClient

from tests.identity_provider import IdentityProvider
from tests.integration.api.driver import Driver


@pytest.fixture
def api(app: Flask, client: FlaskClient) -> Driver:
    """A client signed in as admin."""
    return Driver(app, client)


@pytest.fixture(scope="module")
def lasting_provider() -> Iterator[IdentityProvider]:
    with IdentityProvider() as provider:
        yield provider


@pytest.fixture
def provider(lasting_provider: IdentityProvider) -> Iterator[IdentityProvider]:
    """The same for all tests of a module, as it is at first."""
    first = {**vars(lasting_provider), "person": dict(lasting_provider.person)}
    lasting_provider.requests = []
    yield lasting_provider
    vars(lasting_provider).update(first)
