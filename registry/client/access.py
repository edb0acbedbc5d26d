"""The client's calls about tokens, roles, the audit log and the stage policy."""

from collections.abc import Iterator, Sequence

import requests

from registry.client.transport import Transport, json_object, path_of
from registry.client.types import (
    AuditRecord,
    JsonObject,
    RoleBindingRecord,
    StagePolicyRecord,
    TokenRecord,
)


class TokenCalls:
    """``client.tokens``. Creating is never repeated by itself: see ``WebhookCalls``."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def create(
        self,
        name: str,
        role: str,
        *,
        models: str = "*",
        scopes: Sequence[str] = (),
        expires_in_days: int | None = None,
    ) -> TokenRecord:
        """Make a token; the answer, and only it, has its text.

        Args:
            name: for people to know it by.
            role: what it may do.
            models: to which models, by a pattern.
            scopes: what it is confined to, as ``action:pattern``; nothing if empty.
            expires_in_days: when it ends; the server's default if None.
        """
        body: dict[str, object] = {"name": name, "role": role}
        if models != "*":
            body["models"] = models
        if scopes:
            body["scopes"] = list(scopes)
        if expires_in_days is not None:
            body["expires_in_days"] = expires_in_days
        return TokenRecord.from_json(
            json_object(self._transport.request("POST", "/tokens", body=body))
        )

    def list(self) -> Iterator[TokenRecord]:
        """Return every token, without its text."""
        return map(TokenRecord.from_json, self._transport.pages("/tokens"))

    def revoke(self, token_id: str) -> None:
        """End a token at once."""
        self._transport.request("DELETE", path_of("tokens", token_id))


class RoleCalls:
    """``client.roles``: which people and groups have which role."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def grant(
        self,
        role: str,
        *,
        user: str | None = None,
        group: str | None = None,
        models: str = "*",
    ) -> RoleBindingRecord:
        """Give a role to a person, as ``issuer#subject``, or to a group."""
        if (user is None) == (group is None):
            raise ValueError("give a role either to a user or to a group")
        body = {
            "subject_kind": "group" if user is None else "user",
            "subject": group if user is None else user,
            "role": role,
            "models": models,
        }
        return RoleBindingRecord.from_json(
            json_object(self._transport.change("/role-bindings", body))
        )

    def list(self) -> Iterator[RoleBindingRecord]:
        """Return who has which role."""
        pages = self._transport.pages("/role-bindings")
        return map(RoleBindingRecord.from_json, pages)

    def revoke(self, binding_id: str) -> None:
        """Take a role away."""
        self._transport.request("DELETE", path_of("role-bindings", binding_id))


class AuditCalls:
    """``client.audit``."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def entries(self, *, model: str | None = None) -> Iterator[AuditRecord]:
        """Return the audit entries, newest first."""
        pages = self._transport.pages("/audit", {"model": model})
        return map(AuditRecord.from_json, pages)

    def verify(self, *, model: str | None = None) -> JsonObject:
        """Return what the server says of its chains: believe it or check the export."""
        return self._transport.get("/audit/verify", {"model": model})

    def export_lines(self) -> Iterator[str]:
        """Yield the whole log as JSON lines, as they arrive."""
        with self._transport.stream("/audit/export") as response:
            # The text is UTF-8 (RFC 8259 §8.1), whatever the header leaves out.
            for line in response.iter_lines(requests.models.CONTENT_CHUNK_SIZE):
                if line:
                    yield line.decode("utf-8")


class PolicyCalls:
    """``client.policy``: call it for the rules that hold for a model's name."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def __call__(self, model: str | None = None) -> StagePolicyRecord:
        """The rules for a model, registered or not; or those nothing overrides."""
        document = self._transport.get("/policy", {"model": model})
        return StagePolicyRecord.from_json(document)
