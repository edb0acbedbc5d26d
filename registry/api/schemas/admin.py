"""Tokens, the audit log and the caller itself on the wire."""

from marshmallow import fields, validate

from registry.api.schemas.base import (
    AnswerSchema,
    NumberedPageQuery,
    RequestSchema,
    name,
    whole_number,
)
from registry.domain.actors import Role
from registry.services.tokens import DEFAULT_DAYS, MAX_DAYS

_ROLES = [role.value for role in Role]


class NewToken(RequestSchema):
    """A token to make."""

    name = name(required=True)
    role = fields.String(required=True, validate=validate.OneOf(_ROLES))
    expires_in_days = whole_number(maximum=MAX_DAYS, load_default=DEFAULT_DAYS)


class TokenDocument(AnswerSchema):
    """A token, without the token."""

    id = fields.String(required=True)
    name = fields.String(required=True)
    role = fields.String(required=True, validate=validate.OneOf(_ROLES))
    created_at = fields.DateTime(required=True)
    created_by = fields.String(required=True)
    expires_at = fields.DateTime(required=True, allow_none=True)
    last_used_at = fields.DateTime(required=True, allow_none=True)
    revoked_at = fields.DateTime(required=True, allow_none=True)


class CreatedToken(TokenDocument):
    """A new token; ``token`` is shown this once."""

    token = fields.String(required=True)


class TokenPage(AnswerSchema):
    """Tokens, the revoked ones too."""

    items = fields.List(fields.Nested(TokenDocument), required=True)
    next_cursor = fields.String(required=True, allow_none=True)


class CallerDocument(AnswerSchema):
    """Who is signed in."""

    name = fields.String(required=True)
    role = fields.String(required=True)


class AuditQuery(NumberedPageQuery):
    """Which entries to list."""

    model = fields.String(load_default=None)


class AuditEntryDocument(AnswerSchema):
    """An entry of the audit log; ``entry`` is the text that was hashed.

    Members of a text that somebody destroyed are null. Admins alone are told
    ``source_ip`` and ``private``, whose SHA-256 the text has as ``private_sha256``;
    others see entries of the former version ``is_redacted``, not as they were hashed.
    """

    id = fields.Integer(required=True)
    chain = fields.String(required=True)
    n = fields.Integer(required=True)
    at = fields.DateTime(required=True, allow_none=True)
    action = fields.String(required=True, allow_none=True)
    actor = fields.String(required=True, allow_none=True)
    model = fields.String(required=True, allow_none=True)
    version = fields.Integer(required=True, allow_none=True)
    source_ip = fields.String(required=True, allow_none=True)
    prev_hash = fields.String(required=True)
    hash = fields.String(required=True)
    entry = fields.String(required=True)
    private = fields.String(required=True, allow_none=True)
    is_redacted = fields.Boolean(required=True)


class AuditPage(AnswerSchema):
    """Audit entries, newest first."""

    items = fields.List(fields.Nested(AuditEntryDocument), required=True)
    next_cursor = fields.String(required=True, allow_none=True)


class DamageDocument(AnswerSchema):
    """The first bad entry of a chain."""

    chain = fields.String(required=True)
    n = fields.Integer(required=True)
    kind = fields.String(required=True)
    message = fields.String(required=True)


class VerificationQuery(RequestSchema):
    """Which model's chain to verify; all when absent."""

    model = fields.String(load_default=None)


class VerificationDocument(AnswerSchema):
    """What a verification found; ``limits`` says what it cannot find."""

    ok = fields.Boolean(required=True)
    entries = fields.Integer(required=True)
    chains = fields.Integer(required=True)
    damage = fields.List(fields.Nested(DamageDocument), required=True)
    limits = fields.String(required=True)
