"""The registry's rules in plain Python, to hold the registry against.

- Written from what the READMEs promise, and from nothing of the code: what both share
  would hide a fault of both.
- A request is carried out, and then says what it did, or raises ``RefusedError``
  with the status it must be answered with and has done nothing.
- What a change must leave behind is kept beside it: its audit entry, its events,
  and who holds which stage after it.
"""

from dataclasses import dataclass, field
from typing import Any

STAGES = ("None", "Staging", "Production", "Archived")
MOVES = {
    ("None", "Staging"): "promotion",
    ("Staging", "Production"): "promotion",
    ("Production", "Archived"): "archival",
    ("Staging", "Archived"): "archival",
}
DELETABLE = {"None", "Archived"}

Document = dict[str, Any]


class RefusedError(Exception):
    """The rules refuse a request."""

    def __init__(self, status: int) -> None:
        super().__init__(status)
        self.status = status


@dataclass(kw_only=True)
class Version:
    """A version; ``entered`` counts the model's stage changes until its last one."""

    number: int
    status: str
    stage: str = "None"
    entered: int = 0
    is_sealed: bool = False
    is_deleted: bool = False
    description: str = ""
    tags: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Move:
    """A line of the history."""

    version: int
    from_stage: str
    to_stage: str
    cause: str


@dataclass(frozen=True)
class Announced:
    """An event, as far as the rules say what is in it."""

    type: str
    version: int | None = None
    to_stage: str | None = None
    cause: str | None = None
    previous_version: int | None = None


@dataclass(frozen=True)
class Audited:
    """An audit entry, and who held each stage once it was written."""

    action: str
    version: int | None
    holders: dict[str, int]


@dataclass
class Model:
    """A registered model with everything that belongs to it."""

    name: str
    description: str = ""
    tags: dict[str, str] = field(default_factory=dict)
    versions: dict[int, Version] = field(default_factory=dict)
    aliases: dict[str, int] = field(default_factory=dict)
    history: list[Move] = field(default_factory=list)
    entries: int = 0
    audit: list[Audited] = field(default_factory=list)
    events: list[Announced] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._record("registered_model.created")

    def living(self) -> list[Version]:
        """The versions that were not deleted, by number."""
        return [each for each in self.versions.values() if not each.is_deleted]

    def holder(self, stage: str) -> int | None:
        """Who is in a stage; of several the one that entered last."""
        inside = [each for each in self.living() if each.stage == stage]
        return max(inside, key=lambda each: each.entered).number if inside else None

    def version(self, number: int) -> Version:
        found = self.versions.get(number)
        if found is None or found.is_deleted:
            raise RefusedError(404)
        return found

    def register(self, *, is_linked: bool) -> Document:
        """The next number; pending, unless the artifact lies elsewhere."""
        version = Version(
            number=len(self.versions) + 1,
            status="READY" if is_linked else "PENDING_REGISTRATION",
        )
        self.versions[version.number] = version
        self._enter(version, "None")
        self._record("model_version.registered", version.number)
        return {"version": version.number, "stage": "None", "status": version.status}

    def finish_upload(self, number: int, *, is_as_declared: bool) -> Document:
        """Seal a pending version, or fail it; sealing the same again is nothing."""
        version = self.version(number)
        if version.is_sealed and is_as_declared:
            return {"version": number, "status": "READY"}
        return self._settle(version, is_good=is_as_declared)

    def abort(self, number: int) -> Document:
        return self._settle(self.version(number), is_good=False)

    def _settle(self, version: Version, *, is_good: bool) -> Document:
        if version.status != "PENDING_REGISTRATION":
            raise RefusedError(409)
        version.status = "READY" if is_good else "FAILED_REGISTRATION"
        version.is_sealed = is_good
        self._record("model_version.updated", version.number)
        return {"version": version.number, "status": version.status}

    def move(self, number: int, to_stage: str, expected: Document) -> Document:
        """A transition; ``expected`` may hold ``expected_incumbent``."""
        version = self.version(number)
        cause = MOVES.get((version.stage, to_stage))
        if cause is None or version.status != "READY":
            raise RefusedError(409)
        if expected and expected["expected_incumbent"] != self.holder(to_stage):
            raise RefusedError(412)
        return self._change_stage(version, to_stage, cause)

    def rollback(self, to_version: int | None) -> Document:
        """Back to who held Production before; or to a version that has held it."""
        number = self._served_before() if to_version is None else to_version
        version = self.version(number)
        has_served = any(
            each.version == number and each.to_stage == "Production"
            for each in self.history
        )
        if version.stage != "Archived" or not has_served:
            raise RefusedError(409)
        return self._change_stage(version, "Production", "rollback")

    def _served_before(self) -> int:
        served = [
            each.version
            for each in self.history
            if each.to_stage == "Production"
            and each.version != self.holder("Production")
        ]
        if not served or self.versions[served[-1]].is_deleted:
            raise RefusedError(409)
        return served[-1]

    def _change_stage(self, version: Version, to_stage: str, cause: str) -> Document:
        superseded = self.holder(to_stage) if to_stage == "Production" else None
        if superseded is not None:
            self._move(self.versions[superseded], "Archived", "superseded", None)
        self._move(version, to_stage, cause, superseded)
        self._note("model_version.stage_changed", version.number)
        return {
            "cause": cause,
            "superseded": superseded,
            "version": {"version": version.number, "stage": to_stage},
        }

    def _move(
        self, version: Version, to_stage: str, cause: str, previous: int | None
    ) -> None:
        self.history.append(Move(version.number, version.stage, to_stage, cause))
        self.events.append(
            Announced(
                "model_version.stage_changed",
                version.number,
                to_stage,
                cause,
                previous,
            )
        )
        self._enter(version, to_stage)

    def _enter(self, version: Version, stage: str) -> None:
        self.entries += 1
        version.stage, version.entered = stage, self.entries

    def set_alias(self, alias: str, number: int) -> Document:
        previous = self.aliases.get(alias)
        self.aliases[alias] = self.version(number).number
        self._record("model_version.alias_set", number, previous=previous)
        return {"alias": alias, "version": number}

    def delete_alias(self, alias: str) -> Document:
        if alias not in self.aliases:
            raise RefusedError(404)
        self._record("model_version.alias_deleted", self.aliases.pop(alias))
        return {}

    def describe_version(
        self, number: int, description: str, tag: str | None
    ) -> Document:
        version = self.version(number)
        version.description = description
        had_tag = "team" in version.tags
        _set_tag(version.tags, tag)
        self._record("model_version.updated", number)
        if tag is not None or had_tag:
            done = "deleted" if tag is None else "set"
            self.events.append(Announced(f"model_version.tag_{done}", number))
        return {"description": description, "tags": dict(version.tags)}

    def describe(self, description: str, tag: str | None) -> Document:
        self.description = description
        _set_tag(self.tags, tag)
        self._record("registered_model.updated")
        return {"description": description, "tags": dict(self.tags)}

    def delete_version(self, number: int) -> Document:
        version = self.version(number)
        if version.stage not in DELETABLE:
            raise RefusedError(409)
        version.is_deleted = True
        kept = {alias: to for alias, to in self.aliases.items() if to != number}
        self.aliases = kept
        self._record("model_version.deleted", number)
        return {}

    def delete(self) -> Document:
        if any(each.stage not in DELETABLE for each in self.living()):
            raise RefusedError(409)
        for version in self.living():
            version.is_deleted = True
        self.aliases = {}
        self._record("registered_model.deleted")
        return {}

    def _record(
        self, action: str, version: int | None = None, previous: int | None = None
    ) -> None:
        """One entry and one event: what every change has, but a stage change."""
        self._note(action, version)
        self.events.append(Announced(action, version, previous_version=previous))

    def _note(self, action: str, version: int | None) -> None:
        holders = {
            stage: number
            for stage in STAGES
            if (number := self.holder(stage)) is not None
        }
        self.audit.append(Audited(action, version, holders))


def _set_tag(tags: dict[str, str], value: str | None) -> None:
    """Set the tag ``team``, or remove it."""
    if value is None:
        tags.pop("team", None)
    else:
        tags["team"] = value


@dataclass
class Registry:
    """The models by name; deleted ones are kept apart."""

    models: dict[str, Model] = field(default_factory=dict)
    deleted: list[Model] = field(default_factory=list)

    def model(self, name: str) -> Model:
        if name not in self.models:
            raise RefusedError(404)
        return self.models[name]

    def create(self, name: str) -> Document:
        if name in self.models:
            raise RefusedError(409)
        self.models[name] = Model(name)
        return {"name": name, "stages": {}, "latest_version": None}

    def delete(self, name: str) -> Document:
        answer = self.model(name).delete()
        self.deleted.append(self.models.pop(name))
        return answer


@dataclass(frozen=True)
class Wanted:
    """What a subscription asks for; it has the fields of the API."""

    event_types: tuple[str, ...]
    model_prefix: str = ""
    to_stages: tuple[str, ...] | None = None

    def matches(self, model: str, event: Announced) -> bool:
        return (
            bool(self._names_of(event) & set(self.event_types))
            and model.startswith(self.model_prefix)
            and (self.to_stages is None or event.to_stage in self.to_stages)
        )

    @staticmethod
    def _names_of(event: Announced) -> set[str]:
        is_opt_in = event.type.startswith("model_version.tag_")
        return {event.type} if is_opt_in else {"*", event.type}
