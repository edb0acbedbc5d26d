"""Credentials of a subscription at rest: names in clear, each value sealed.

The stored text is a JSON object from name to sealed value, so that the names can be
shown without the means to open the values.
"""

import json
from collections.abc import Mapping

from webhooks.sealing import SecretBox


def seal_credentials(box: SecretBox, credentials: Mapping[str, str]) -> str | None:
    """Seal each value; None where there is none."""
    sealed = {name: box.seal(value) for name, value in sorted(credentials.items())}
    return json.dumps(sealed) if sealed else None


def open_credentials(box: SecretBox, stored: str | None) -> dict[str, str]:
    """Open each value.

    Raises:
        UnsealError: no present key fits one of them.
    """
    return {name: box.open(value) for name, value in _read(stored).items()}


def credential_names(stored: str | None) -> list[str]:
    """Name the credentials, sorted."""
    return sorted(_read(stored))


def _read(stored: str | None) -> dict[str, str]:
    return {} if stored is None else dict(json.loads(stored))
