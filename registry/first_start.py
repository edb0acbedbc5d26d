"""What the start of the embedded server makes: its key, its first token, a link.

Rules:

- The key that seals webhook secrets is generated into the data directory, for the
  owner alone, when none is given and the database is the embedded one.
- The first admin token is the operator's ``BOOTSTRAP_TOKEN``; when there is none
  and nobody could sign in, one is made and answered, once, to be shown.
- Whoever starts the server on a terminal is given a link that signs in once.
"""

import dataclasses
import os
import secrets
import uuid
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

from flask import Flask

from registry.artifacts.store import ArtifactStore
from registry.domain.actors import SYSTEM, Caller
from registry.domain.sign_in_links import SignInLinks
from registry.domain.token_format import new_token
from registry.errors import ConfigurationError, NotSignedInError
from registry.persistence.database import db, reading
from registry.services import tokens
from registry.services.transaction import begin
from registry.settings import Settings
from registry.web.parts import Parts

KEY_FILE = "secret-key"
MIN_TOKEN_CHARACTERS = 16


def with_secret_key(settings: Settings) -> Settings:
    """The settings with a key: theirs, or the one of the data directory.

    Makes the data directory of the embedded database, when it is missing.

    Raises:
        ConfigurationError: when the data directory cannot be written.
    """
    try:
        if settings.is_embedded:
            settings.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        if settings.secret_keys:
            return settings
        key = _generated_key(settings.data_dir)
    except OSError as error:
        raise ConfigurationError(
            [f"STAGEGATE_DATA_DIR: cannot use {settings.data_dir}: {error.strerror}"]
        ) from error
    return dataclasses.replace(settings, secret_keys=(key,))


def _generated_key(data_dir: Path) -> str:
    path = data_dir / KEY_FILE
    if not path.exists():
        # Written elsewhere first: another server that starts must not read half a key.
        part = data_dir / f"{KEY_FILE}.{uuid.uuid4().hex}"
        descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(secrets.token_urlsafe(48) + "\n")
        with suppress(FileExistsError):
            path.hardlink_to(part)
        part.unlink()
    return path.read_text(encoding="utf-8").strip()


def prepare_store(app: Flask) -> None:
    """Create the bucket or directory when it is missing.

    Raises:
        ArtifactStoreError: when it is missing and may not be made.
    """
    parts: Parts = app.extensions["stagegate"]
    store: ArtifactStore = parts.store
    store.prepare()


def ensure_first_token(app: Flask) -> str | None:
    """See that somebody can sign in; answers a token that was made, to be shown.

    Raises:
        ConfigurationError: when the given bootstrap token is too short.
    """
    parts: Parts = app.extensions["stagegate"]
    given = parts.settings.bootstrap_token
    if given and len(given) < MIN_TOKEN_CHARACTERS:
        problem = (
            "STAGEGATE_BOOTSTRAP_TOKEN needs at least "
            f"{MIN_TOKEN_CHARACTERS} random characters"
        )
        raise ConfigurationError([problem])
    with app.app_context():
        caller = Caller(actor=SYSTEM)
        with begin(db.engine, caller=caller, policy=parts.policy) as tx:
            if not given and tokens.has_tokens(tx.cx):
                return None
            secret = given or new_token()
            tokens.ensure_bootstrap_token(tx, secret)
    return None if given else secret


def sign_in_link(app: Flask, address: str) -> str | None:
    """Return a link that signs in once; None where the embedded server has no token.

    Args:
        app: its database is there.
        address: of this machine, where the server answers unless it is told otherwise.
    """
    settings: Settings = app.extensions["stagegate"].settings
    if not settings.is_embedded or settings.ways_to_sign_in.is_insecure_dev:
        return None
    with app.app_context():
        try:
            tokens.bootstrap_token(reading())
        except NotSignedInError:  # whoever revoked it does not want this either
            return None
    ticket = SignInLinks(settings.secret_keys).ticket(now=datetime.now(UTC))
    return f"{settings.public_url or address}/signin/once?ticket={ticket}"
