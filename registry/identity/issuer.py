"""What an issuer says of itself: its metadata and its keys, kept and renewed.

Rules:

- Both come from the issuer's own address (OpenID Connect Discovery), never from what a
  token names: ``jku`` and ``jwk`` in a token are refused before this is asked.
- What was fetched is kept for an hour. A key that is not among them is looked for once
  in a minute at most (``COOL_DOWN``), whoever asks, so that tokens with made-up keys
  do not make us ask; and so after a failure.
- An answer without a usable key never takes the place of one with some; where the
  issuer does not answer, what is known is used on for a day.
- Answers are bounded in size and time, and no redirect is followed.
"""

import json
import math
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

import jwt
import requests

from registry.addresses import is_loopback
from registry.errors import IdentityProviderError, NotSignedInError

KEPT_SECONDS = 3600.0
KEPT_WITHOUT_ANSWER_SECONDS = 24 * 3600.0
COOL_DOWN_SECONDS = 60.0
TIMEOUT_SECONDS = 5.0
MAX_ANSWER_BYTES = 256 * 1024
_WELL_KNOWN = "/.well-known/openid-configuration"


class Issuer:
    """One issuer, whose keys and metadata are fetched when they are needed.

    Args:
        name: exactly as it calls itself; an https address, or one of this machine.
        algorithms: what it may sign with; asymmetric ones alone.
        clock: seconds that only ever grow.
    """

    def __init__(
        self,
        name: str,
        *,
        algorithms: Sequence[str],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.name = name
        self.algorithms = tuple(algorithms)
        self._clock = clock
        self._lock = threading.Lock()
        self._metadata: Mapping[str, Any] = {}
        self._keys: Mapping[str, jwt.PyJWK] = {}
        self._fetched_at: float | None = None
        self._tried_at = -math.inf

    def metadata(self) -> Mapping[str, Any]:
        """Return what it says of itself.

        Raises:
            IdentityProviderError: nothing that can be used.
        """
        self._renew(is_missing=not self._metadata)
        return self._metadata

    def key(self, kid: str) -> jwt.PyJWK:
        """Return the key of that name.

        Raises:
            NotSignedInError: it has none.
            IdentityProviderError: it has not told its keys.
        """
        self._renew(is_missing=kid not in self._keys)
        key = self._keys.get(kid)
        if key is None:
            raise NotSignedInError("the token is signed with an unknown key")
        return key

    def _renew(self, *, is_missing: bool) -> None:
        """Fetch anew what is old, or lacks what is asked for, but not too often.

        One thread fetches. The others go on with what is known meanwhile, or wait
        where that lacks what they ask for.
        """
        if not is_missing and self._age() <= KEPT_SECONDS:
            return
        if self._lock.acquire(blocking=is_missing):
            try:
                self._fetch_if_cool()
            finally:
                self._lock.release()
        if self._age() > KEPT_WITHOUT_ANSWER_SECONDS:
            raise IdentityProviderError("the identity provider has not told its keys")

    def _age(self) -> float:
        at = self._fetched_at
        return math.inf if at is None else self._clock() - at

    def _fetch_if_cool(self) -> None:
        now = self._clock()
        if now - self._tried_at < COOL_DOWN_SECONDS:
            return
        self._tried_at = now
        try:
            self._fetch()
        except IdentityProviderError:
            if self._fetched_at is None:
                raise
        else:
            self._fetched_at = now

    def _fetch(self) -> None:
        metadata = fetched(self.name.rstrip("/") + _WELL_KNOWN)
        if metadata.get("issuer") != self.name:
            raise IdentityProviderError("the issuer calls itself something else")
        found = fetched(str(metadata.get("jwks_uri", ""))).get("keys")
        keys = {} if not isinstance(found, list) else self._usable(found)
        if not keys:
            raise IdentityProviderError("the issuer tells no key that can be used")
        self._metadata, self._keys = metadata, keys

    def _usable(self, found: Sequence[object]) -> dict[str, jwt.PyJWK]:
        """Return the keys for signatures of these algorithms, by name."""
        keys = {}
        for each in found:
            if not isinstance(each, Mapping) or each.get("use", "sig") != "sig":
                continue
            try:
                key = jwt.PyJWK(dict(each))
                if key.Algorithm.check_key_length(key.key):
                    continue  # too short to mean anything
            except (jwt.PyJWTError, ValueError, TypeError):
                continue
            kid = each.get("kid")
            if key.algorithm_name in self.algorithms and isinstance(kid, str):
                keys[kid] = key
        return keys


def fetched(address: str) -> Mapping[str, Any]:
    """Return the JSON object at an address.

    Raises:
        IdentityProviderError: there is none, or it is not asked over https.
    """
    parts = urlsplit(address)
    if parts.scheme != "https" and not is_loopback(parts.hostname or ""):
        raise IdentityProviderError("the issuer is asked over https alone")
    try:
        with requests.get(
            address, timeout=TIMEOUT_SECONDS, allow_redirects=False, stream=True
        ) as answer:
            body = answer.raw.read(MAX_ANSWER_BYTES + 1, decode_content=True)
            document = json.loads(body) if len(body) <= MAX_ANSWER_BYTES else None
    except (requests.RequestException, OSError, ValueError) as error:
        raise IdentityProviderError from error
    if answer.status_code != requests.codes.ok or not isinstance(document, dict):
        raise IdentityProviderError
    return document
