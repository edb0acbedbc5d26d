"""Tokens, the audit log and the caller itself on the wire."""

from collections.abc import Sequence
from typing import Annotated, TypedDict

from marshmallow import fields, validate

from registry.api.schemas.base import (
    NumberedPageQuery,
    Page,
    RequestSchema,
    name,
    whole_number,
)
from registry.domain.documents import TokenDocument
from registry.domain.roles import EVERY_MODEL, MAX_SCOPES, OF_MODELS, PATTERN, Role
from registry.domain.timestamps import Instant
from registry.services.tokens import DEFAULT_DAYS, MAX_DAYS

_SCOPE = rf"^({'|'.join(OF_MODELS)}):{PATTERN}$"


def model_pattern() -> fields.String:
    """Which models a role is for, by their names."""
    return fields.String(
        validate=validate.Regexp(f"^{PATTERN}$"), load_default=EVERY_MODEL
    )


class NewToken(RequestSchema):
    """A token to make: of a role for some models, confined to scopes where it has any.

    The roles ``viewer``, ``auditor`` and ``admin`` are for all models.
    """

    name = name(required=True)
    role = fields.String(required=True, validate=validate.OneOf(list(Role)))
    models = model_pattern()
    scopes = fields.List(
        fields.String(validate=validate.Regexp(_SCOPE)),
        validate=validate.Length(min=1, max=MAX_SCOPES),
        load_default=None,
        allow_none=True,
    )
    expires_in_days = whole_number(maximum=MAX_DAYS, load_default=DEFAULT_DAYS)


class CreatedToken(TokenDocument):
    """A new token; ``token`` is shown this once."""

    token: str


class TokenPage(Page):
    """Tokens, the revoked ones too."""

    items: Sequence[TokenDocument]


class CallerDocument(TypedDict):
    """Who is signed in."""

    name: str
    kind: str
    roles: Annotated[Sequence[str], "each for all models, or as role:pattern"]
    scopes: Annotated[
        Sequence[str] | None, "what the credential is confined to; null where it is not"
    ]


class AuditQuery(NumberedPageQuery):
    """Which entries to list."""

    model = fields.String(load_default=None)


class AuditEntryDocument(TypedDict):
    """An entry of the audit log; ``entry`` is the text that was hashed.

    Members of a text that somebody destroyed are null. Admins alone are told
    ``source_ip`` and ``private``, whose SHA-256 the text has as ``private_sha256``;
    others see entries of the former version ``is_redacted``, not as they were hashed.
    """

    id: int
    chain: str
    n: int
    at: Instant | None
    action: str | None
    actor: str | None
    model: str | None
    version: int | None
    source_ip: str | None
    prev_hash: str
    hash: str
    entry: str
    private: str | None
    is_redacted: bool


class AuditPage(Page):
    """Audit entries, newest first."""

    items: Sequence[AuditEntryDocument]


class DamageDocument(TypedDict):
    """The first bad entry of a chain."""

    chain: str
    n: int
    kind: str
    message: str


class VerificationQuery(RequestSchema):
    """Which model's chain to verify; all when absent."""

    model = fields.String(load_default=None)


class VerificationDocument(TypedDict):
    """What a verification found; ``limits`` says what it cannot find."""

    ok: bool
    entries: int
    chains: int
    damage: Sequence[DamageDocument]
    limits: str
