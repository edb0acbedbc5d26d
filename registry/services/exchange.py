"""A CI job's token of its platform, exchanged for one of ours.

Rules:

- Who the token says that it is of only chooses the issuer among those of trusted
  publishers; nothing else is believed before its signature is verified.
- Each of an issuer's tokens is exchanged once: its id is inserted in the transaction
  that makes ours. Two at once wait for one another, and the second finds it there.
- Ours is good for ``LIFETIME``, for what the publisher may do, and ends with it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import Connection, bindparam, delete, select, tuple_
from sqlalchemy.exc import IntegrityError

from registry.domain.actors import Actor, ActorKind, CredentialKind
from registry.domain.ci_jobs import jti_sha256, on_behalf_of
from registry.domain.publishers import (
    JobProvider,
    job_claims,
    place_of,
    publisher_of,
)
from registry.domain.rows import PublisherRow, UsedJtiRow
from registry.domain.timestamps import rfc3339
from registry.errors import NotFoundError, NotSignedInError
from registry.persistence import apply
from registry.persistence.tables import UsedJti
from registry.services import audit, publishers, tokens
from registry.services.transaction import Transaction

LIFETIME = timedelta(minutes=15)
#: No platform signs for longer; what is remembered must end some time.
LONGEST = timedelta(days=31)
#: An id is kept for so long after its token's end: clocks differ.
KEPT_FOR = timedelta(minutes=5)
REMOVED_AT_ONCE = 1_000

_OLD = (
    select(UsedJti.issuer, UsedJti.jti)
    .where(UsedJti.expires_at < bindparam("before"))
    .order_by(UsedJti.expires_at)
    .limit(REMOVED_AT_ONCE)
)
_REMOVE = delete(UsedJti).where(
    tuple_(UsedJti.issuer, UsedJti.jti).in_(bindparam("keys", expanding=True))
)


@dataclass(frozen=True, kw_only=True)
class Job:
    """A CI job that is known, and may be given a token."""

    publisher: PublisherRow
    used: UsedJtiRow
    on_behalf_of: Mapping[str, str]

    @property
    def actor(self) -> Actor:
        """Return who acts: it has no role before it has its token."""
        return Actor(
            kind=ActorKind.CI,
            name=self.publisher.name,
            principal=tokens.principal_of(self.publisher.id),
            credential=CredentialKind.JWT,
            credential_id=self.used.jti,
            on_behalf_of=self.on_behalf_of,
            human=self.on_behalf_of.get("human", ""),
        )


def job_of(
    cx: Connection,
    token: str,
    all_claims: Mapping[str, Any],
    provider: JobProvider,
    *,
    now: datetime,
) -> Job:
    """Return the job that a verified token of its platform is of.

    Raises:
        NotSignedInError: it is no trusted publisher's.
    """
    issuer = all_claims["iss"]
    claims = job_claims(provider, all_claims)
    candidates = publishers.candidates(cx, issuer, place_of(provider, claims))
    jti = jti_sha256(token, all_claims)
    return Job(
        publisher=publisher_of(candidates, claims),
        used=UsedJtiRow(issuer=issuer, jti=jti, expires_at=_end(all_claims, now)),
        on_behalf_of=on_behalf_of(provider, claims, jti_sha256=jti),
    )


def _end(claims: Mapping[str, Any], now: datetime) -> datetime:
    if int(claims["exp"]) > (now + LONGEST).timestamp():
        raise NotSignedInError(f"the JWT is good for more than {LONGEST.days} days")
    return datetime.fromtimestamp(int(claims["exp"]), UTC) + KEPT_FOR


def exchange(tx: Transaction, job: Job) -> dict[str, Any]:
    """Give a job its token, this once.

    Raises:
        NotSignedInError: it was given one before, or its publisher is gone.
    """
    audit.lock(tx)
    try:
        publisher = publishers.find(tx.cx, job.publisher.id)
        apply.add(tx.cx, job.used)
    except NotFoundError as error:
        raise NotSignedInError("this trusted publisher was deleted") from error
    except IntegrityError as error:
        raise NotSignedInError(
            "this JWT was exchanged already; each is good for one token"
        ) from error
    token, secret = tokens.create_ci_token(
        tx, publisher, job.on_behalf_of, expires_at=tx.now + LIFETIME
    )
    return {
        "token": secret,
        "expires_at": rfc3339(tx.now + LIFETIME),
        "publisher": publisher.name,
        "role": token.role,
        "models": token.models,
    }


def forget_used(cx: Connection, *, now: datetime) -> bool:
    """Forget the first tokens that have ended; whether more may be left."""
    keys = cx.execute(_OLD, {"before": now}).all()
    if keys:
        cx.execute(_REMOVE, {"keys": [tuple(key) for key in keys]})
    return len(keys) == REMOVED_AT_ONCE
