"""An entry of the audit log as it is put before people.

Rules:

- What is shown is what the sealed text says; the columns beside it only found it.
- Of what was there before and after, the members that differ are shown, by their path.
- Long values are shown by their beginning; the page of the entry has the sealed text.
"""

import json
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from registry.domain.audit_chain import DamageKind, members_of

SHOWN_CHARACTERS = 300
_MAX_DIFFERENCES = 60
_EMPTY: tuple[object, ...] = (None, "", [], {})
#: What an entry is known to say; all else is shown as it is.
_KNOWN = frozenset(
    {
        *("v", "at", "action", "outcome", "actor", "credential", "on_behalf_of"),
        *("request_id", "user_agent", "idempotency_key_hash", "model", "version"),
        *("before", "after", "reason", "chain", "n", "private_sha256", "source_ip"),
    }
)
#: The members that things are known by, the first of them that there is.
_NAMES = ("alias", "environment", "subject", "name", "url")
STAGE_CHANGED = "model_version.stage_changed"
#: What was done, by the action that the log names.
ACTIONS: Mapping[str, str] = {
    STAGE_CHANGED: "Changed the stage",
    "model_version.registered": "Registered a version",
    "model_version.updated": "Updated a version",
    "model_version.deleted": "Deleted a version",
    "model_version.alias_set": "Set an alias",
    "model_version.alias_deleted": "Removed an alias",
    "model_version.artifact_changed": "Found the artifact changed",
    "model_version.check_reported": "Reported a check",
    "model_version.commented": "Commented",
    "model_version.comment_updated": "Edited a comment",
    "model_version.comment_deleted": "Deleted a comment",
    "registered_model.created": "Created a model",
    "registered_model.updated": "Updated a model",
    "registered_model.renamed": "Renamed a model",
    "registered_model.deleted": "Deleted a model",
    "registered_model.hold_set": "Held a stage",
    "registered_model.hold_lifted": "Lifted a hold",
    "transition_request.created": "Asked for approval",
    "transition_request.updated": "Approved or closed a request",
    "transition_request.rejected": "Rejected a request",
    "transition_request.cancelled": "Withdrew a request",
    "deployment.updated": "Reported a deployment",
    "webhook.created": "Created a webhook",
    "webhook.updated": "Updated a webhook",
    "webhook.deleted": "Deleted a webhook",
    "webhook.tested": "Tested a webhook",
    "webhook.secret_rotated": "Rotated a secret",
    "webhook.redelivered": "Redelivered",
    "token.created": "Created a token",
    "token.revoked": "Revoked a token",
    "token.exchanged": "Gave a CI job a token",
    "token.removed": "Removed old tokens of CI jobs",
    "role.granted": "Granted a role",
    "role.revoked": "Took a role away",
    "publisher.created": "Trusted a publisher",
    "publisher.deleted": "Trusted a publisher no more",
    "session.started": "Signed in",
    "session.ended": "Signed out",
    "session.all_ended": "Signed out everywhere",
}
#: What is wrong with a chain.
DAMAGE: Mapping[DamageKind, str] = {
    DamageKind.EDITED: "Its text or hash was changed",
    DamageKind.REMOVED: "An entry is missing",
    DamageKind.INSERTED: "An entry was put in",
    DamageKind.REORDERED: "Entries stand in another order",
    DamageKind.TRUNCATED: "Entries are missing at the end",
    DamageKind.MALFORMED: "It is no entry at all",
    DamageKind.CONTRADICTED: "A table says something else than the log",
}
#: By what it was shown who acts.
CREDENTIALS: Mapping[str, str] = {
    "token": "API token",
    "ci_token": "token of a CI job",
    "session": "browser session",
    "jwt": "token of the identity provider",
    "headers": "trusted proxy",
    "delivery_token": "token of a delivery",
}


class Difference(NamedTuple):
    """A member that is not as it was; None where it is not there."""

    path: str
    before: str | None
    after: str | None


class ShownEntry(NamedTuple):
    """What a page shows of an entry.

    Attributes:
        document: as the API answers it.
        text: the members of the sealed text.
        differences: what was changed, as many as are shown.
        hidden: how many more there are.
        others: what else it says.
    """

    document: Mapping[str, Any]
    text: Mapping[str, Any]
    differences: list[Difference]
    hidden: int
    others: Mapping[str, str]

    @property
    def title(self) -> str:
        """Return what was done."""
        action = str(self.document["action"])
        return ACTIONS.get(action, action)

    @property
    def is_new(self) -> bool:
        """Whether there was nothing of it before."""
        return self.text.get("before") is None

    @property
    def thing(self) -> str:
        """Return what it was done to, by name, where that is no model."""
        found = _object(self.text.get("after")) or _object(self.text.get("before"))
        named = next((found[name] for name in _NAMES if found.get(name)), "")
        return "" if named == self.document["model"] else as_text(named)

    @property
    def moved(self) -> tuple[str, str] | None:
        """Return from which stage to which, of a change of stage."""
        stages = [
            _object(self.text.get(name)).get("stage") for name in ("before", "after")
        ]
        if self.document["action"] != STAGE_CHANGED or not all(stages):
            return None
        return str(stages[0]), str(stages[1])

    @property
    def actor(self) -> Mapping[str, Any]:
        """Return who did it."""
        return _object(self.text.get("actor"))

    @property
    def roles(self) -> list[Any]:
        """Return the roles that they had."""
        found = self.actor.get("roles")
        return found if isinstance(found, list) else []

    @property
    def credential(self) -> str:
        """Return the kind of credential, in words; nothing where there was none."""
        kind = str(_object(self.text.get("credential")).get("kind"))
        return CREDENTIALS.get(kind, "")

    @property
    def behalf(self) -> Mapping[str, Any]:
        """Return for whom it was done."""
        return _object(self.text.get("on_behalf_of"))

    @property
    def run_url(self) -> str:
        """Return where the CI run is; nothing that no browser should open."""
        url = str(self.behalf.get("run_url", ""))
        return url if url.startswith(("https://", "http://")) else ""


def shown_entry(
    document: Mapping[str, Any], *, most: int = _MAX_DIFFERENCES
) -> ShownEntry:
    """Return what a page shows of an entry, as the API answers it."""
    text = members_of(document["entry"])
    found = list(differences(text.get("before"), text.get("after")))
    others = {
        name: as_text(value)
        for name, value in text.items()
        if name not in _KNOWN and value not in _EMPTY
    }
    return ShownEntry(document, text, found[:most], max(0, len(found) - most), others)


def differences(before: object, after: object, path: str = "") -> Iterator[Difference]:
    """Yield the members in which two documents differ."""
    if _is_object(before) and _is_object(after):
        old, new = _object(before), _object(after)
        for name in dict.fromkeys([*new, *old]):
            where = f"{path}.{name}" if path else str(name)
            yield from differences(old.get(name), new.get(name), where)
    elif before != after and not (before is None and after in _EMPTY):
        yield Difference(path, _or_none(before), _or_none(after))


def _is_object(value: object) -> bool:
    return value is None or isinstance(value, Mapping)


def as_text(value: object) -> str:
    """Return a value as people read it, its beginning where it is long."""
    plain = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    if len(plain) <= SHOWN_CHARACTERS:
        return plain
    return f"{plain[:SHOWN_CHARACTERS]}…"


def _or_none(value: object) -> str | None:
    return None if value is None else as_text(value)


def _object(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}
