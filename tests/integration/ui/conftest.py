"""Pages as text, of an application in this process."""

import pytest
from flask import Flask
from flask.testing import FlaskClient

from tests.integration.api.driver import Driver


@pytest.fixture
def api(app: Flask, client: FlaskClient) -> Driver:
    """A client signed in as admin."""
    return Driver(app, client)
