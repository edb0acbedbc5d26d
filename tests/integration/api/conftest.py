"""A registry as the tests of the API drive it."""

import pytest
from flask import Flask
from flask.testing import FlaskClient

from tests.integration.api.driver import Driver


@pytest.fixture
def api(app: Flask, client: FlaskClient) -> Driver:
    """A client signed in as admin."""
    return Driver(app, client)
