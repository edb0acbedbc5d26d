"""What gunicorn loads: the application of this environment's settings."""

import os

from flask import Flask

from registry.app import create_app
from registry.first_start import with_secret_key
from registry.logs import configure_logging
from registry.settings import Settings


def application() -> Flask:
    """Build the application; gunicorn's configuration starts the rest.

    Raises:
        ConfigurationError: when the settings cannot be used.
    """
    settings = with_secret_key(Settings.from_env(os.environ))
    configure_logging(settings.log_level)
    return create_app(settings)
