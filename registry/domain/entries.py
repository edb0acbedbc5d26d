"""What an entry of the audit log says, and how it is appended to its chain.

Credentials never enter an entry, only their ids. What only admins may read enters its
private part (``audit_privacy``).
"""

import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from registry.domain import audit_privacy
from registry.domain.actors import Caller
from registry.domain.audit_chain import Head, seal
from registry.domain.timestamps import rfc3339

#: 1 had the source address in the text that everybody may read; 2 named a role and the
#: id of a token, which were all that there was.
_VERSION = 3
_SALT_BYTES = 16


@dataclass(frozen=True, kw_only=True)
class Change:
    """What an entry says of a change, besides who made it and when.

    ``private`` is what it says to admins alone.
    """

    action: str
    model: str | None = None
    version: int | None = None
    before: Mapping[str, object] | None = None
    after: Mapping[str, object] | None = None
    reason: str = ""
    details: Mapping[str, object] = field(default_factory=dict)
    private: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class EntryRow:
    """A sealed entry, and the columns that repeat its text."""

    chain: str
    n: int
    at: str
    action: str
    actor: str
    model: str | None
    version: int | None
    prev_hash: str
    hash: str
    canonical: str
    private: str | None


def appended(
    chain: str, head: Head | None, change: Change, *, caller: Caller, at: datetime
) -> EntryRow:
    """Return the entry of a change, sealed behind the chain's head."""
    sealed = seal(
        chain,
        head,
        _text(caller, change, at),
        private={
            **change.private,
            audit_privacy.SOURCE_IP: caller.source_ip,
            "salt": secrets.token_hex(_SALT_BYTES),
        },
    )
    return EntryRow(
        chain=chain,
        n=sealed.n,
        at=rfc3339(at),
        action=change.action,
        actor=caller.actor.name,
        model=change.model,
        version=change.version,
        prev_hash=sealed.prev_hash,
        hash=sealed.hash,
        canonical=sealed.canonical,
        private=sealed.private,
    )


def _text(caller: Caller, change: Change, at: datetime) -> dict[str, object]:
    actor = caller.actor
    return {
        "v": _VERSION,
        "at": rfc3339(at),
        "action": change.action,
        "outcome": "done",
        "actor": {
            "kind": actor.kind,
            "name": actor.name,
            "id": actor.principal,
            "roles": [str(grant) for grant in actor.grants],
        },
        "credential": {"kind": actor.credential, "id": actor.credential_id},
        "on_behalf_of": dict(actor.on_behalf_of) or None,
        "request_id": caller.request_id,
        "user_agent": caller.user_agent,
        "idempotency_key_hash": caller.idempotency_key_hash,
        "model": change.model,
        "version": change.version,
        "before": dict(change.before) if change.before is not None else None,
        "after": dict(change.after) if change.after is not None else None,
        "reason": change.reason,
        **change.details,
    }
