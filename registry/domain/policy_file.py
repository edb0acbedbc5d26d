"""From the policy file's bytes to a ``StagePolicy``.

Rules:

- Every problem of the file is named at once, with the place it stands in.
- Unknown keys are problems: a misspelt gate must not open a gate.
- The four built-in stages must be present, None first and Archived last.
- An ``[[override]]`` replaces the tables it brings for the models its glob
  matches, first match wins; the rest it takes from the file.
"""

import hashlib
import tomllib
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from marshmallow import Schema, ValidationError, fields, validate, validates_schema

from registry.domain.freezes import Freeze, parse_weekly
from registry.domain.gates import MetricThreshold, Requirements
from registry.domain.policy import (
    ANY,
    ARCHIVED,
    BUILT_IN_STAGES,
    DEFAULT_APPROVAL_HOURS,
    NONE,
    AliasRule,
    Cause,
    Move,
    StagePolicy,
)
from registry.domain.roles import OF_MODELS, Action
from registry.errors import ConfigurationError

_VIAS = (Cause.PROMOTION, Cause.ARCHIVAL, Cause.ROLLBACK)
MAX_APPROVALS = 10
MAX_HOURS = 24 * 366

# Values of a parsed TOML file; the schemas below check them.
Table = Mapping[str, Any]


class _Bounds(Schema):
    min = fields.Float()
    max = fields.Float()

    @validates_schema
    def _has_a_bound(self, data: Table, **_: object) -> None:
        if not data:
            raise ValidationError("expected { min = … } or { max = … }")


class _Requirements(Schema):
    require_verified = fields.Boolean(load_default=False)
    required_tags = fields.List(fields.String(), load_default=list)
    metrics = fields.Dict(fields.String(), fields.Nested(_Bounds), load_default=dict)
    checks = fields.List(fields.String(), load_default=list)
    min_hours_in_stage = fields.Float(
        load_default=0, validate=validate.Range(min=0, max=MAX_HOURS)
    )


class _Move(_Requirements):
    from_stage = fields.String(data_key="from", required=True)
    to_stage = fields.String(data_key="to", required=True)
    via = fields.String(required=True, validate=validate.OneOf(_VIAS))
    verify_artifact = fields.Boolean(load_default=False)
    approvals = fields.Integer(
        load_default=0, strict=True, validate=validate.Range(min=0, max=MAX_APPROVALS)
    )


class _Alias(_Requirements):
    name = fields.String(required=True, validate=validate.Length(min=1))
    stage = fields.String()
    action = fields.String(validate=validate.OneOf(OF_MODELS))
    stages = fields.List(fields.String())

    @validates_schema
    def _is_bound_or_guarded(self, data: Table, **_: object) -> None:
        guards = data.keys() - {"name", "stage"}
        if "stage" in data and any(data[name] for name in guards):
            raise ValidationError(
                "bound to a stage, whose moves ask for all that is asked for", "stage"
            )


def _is_window(begins: object, ends: object) -> bool:
    if not isinstance(begins, datetime) or not isinstance(ends, datetime):
        return False
    if begins.tzinfo is None or ends.tzinfo is None:
        return False
    try:
        return begins.astimezone(UTC) < ends.astimezone(UTC)
    except OverflowError:  # as it does at the end of year 9999, west of Greenwich
        return False


class _Freeze(Schema):
    reason = fields.String(required=True, validate=validate.Length(min=1))
    stages = fields.List(fields.String(), load_default=list)
    begins = fields.Raw(data_key="from")
    ends = fields.Raw(data_key="until")
    weekly = fields.String()
    timezone = fields.String()

    @validates_schema
    def _is_a_window(self, data: Table, **_: object) -> None:
        ends = data.keys() & {"begins", "ends"}
        is_once = _is_window(data.get("begins"), data.get("ends"))
        if ends if "weekly" in data else not is_once:
            raise ValidationError(
                "expected from and until, as times with their offset from UTC, or "
                "weekly, as 'Fri 16:00 - Mon 08:00'"
            )
        try:
            parse_weekly(data.get("weekly", "Mon 00:00 - Mon 00:00"))
            ZoneInfo(data.get("timezone", "UTC"))
        except (ValueError, OSError, LookupError) as error:
            raise ValidationError(str(error)) from error


class _Deletion(Schema):
    stages = fields.List(fields.String(), required=True)


class _Rules(Schema):
    moves = fields.List(fields.Nested(_Move))
    exclusive = fields.Dict(fields.String(), fields.String())
    deletion = fields.Nested(_Deletion)
    automatic_rollback = fields.List(fields.String())
    hold_after_rollback = fields.List(fields.String())
    aliases = fields.List(fields.Nested(_Alias))
    freeze = fields.List(fields.Nested(_Freeze))
    approval_hours = fields.Integer(
        strict=True, validate=validate.Range(min=1, max=MAX_HOURS)
    )


class _Override(_Rules):
    models = fields.String(required=True, validate=validate.Length(min=1))


class _PolicyFile(_Rules):
    stages = fields.List(fields.String(), required=True)
    moves = fields.List(fields.Nested(_Move), required=True)
    override = fields.List(fields.Nested(_Override), load_default=list)

    @validates_schema
    def _stages_hold_the_built_in_ones(self, data: Table, **_: object) -> None:
        stages = data["stages"]
        problems = []
        missing = [stage for stage in BUILT_IN_STAGES if stage not in stages]
        if missing:
            problems.append(f"{', '.join(missing)} must be listed")
        elif stages[0] != NONE or stages[-1] != ARCHIVED:
            problems.append("None must stand first and Archived last")
        if len({stage.lower() for stage in stages}) != len(stages):
            problems.append("a stage stands there twice")
        if any(not stage.isidentifier() for stage in stages):
            problems.append("a stage is named by letters, digits and '_'")
        if problems:
            raise ValidationError(problems, "stages")

    @validates_schema
    def _rules_name_known_stages(self, data: Table, **_: object) -> None:
        problems: dict[str, list[str]] = {}
        for rules in (data, *data["override"]):
            unknown = sorted(_stages_named(rules) - set(data["stages"]))
            if unknown:
                message = f"not among the stages: {', '.join(unknown)}"
                problems.setdefault("_schema", []).append(message)
            exclusive = _exclusive(rules)
            if any(stage == NONE or to in exclusive for stage, to in exclusive.items()):
                problems.setdefault("exclusive", []).append(
                    "an incumbent must leave for a shared stage, and None has none"
                )
            if _shared_rollbacks({**data, **rules}):
                problems["automatic_rollback"] = [
                    "only an exclusive stage has one version to put back"
                ]
        if problems:
            raise ValidationError(problems)


def parse_policy(content: bytes, *, source: str) -> StagePolicy:
    """Read a policy file, which messages call ``source``.

    Raises:
        ConfigurationError: naming every problem.
    """
    try:
        document = tomllib.loads(content.decode("utf-8"))
        loaded: Table = _PolicyFile().load(document)
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigurationError([f"{source}: not valid TOML: {error}"]) from error
    except ValidationError as error:
        raise ConfigurationError(
            [f"{source}: {problem}" for problem in _flattened(error.messages)]
        ) from error
    digest = "sha256:" + hashlib.sha256(content).hexdigest()
    overrides = tuple(
        (override["models"], _policy({**loaded, **override}, (), digest))
        for override in loaded["override"]
    )
    return _policy(loaded, overrides, digest)


def _policy(
    rules: Table, overrides: tuple[tuple[str, StagePolicy], ...], digest: str
) -> StagePolicy:
    return StagePolicy(
        stages=tuple(rules["stages"]),
        moves=tuple(_move(entry) for entry in rules["moves"]),
        exclusive=_exclusive(rules),
        deletable=frozenset(rules.get("deletion", {}).get("stages", ())),
        automatic_rollback=frozenset(rules.get("automatic_rollback", ())),
        held_after_rollback=frozenset(rules.get("hold_after_rollback", ())),
        aliases=tuple(_alias(entry) for entry in rules.get("aliases", ())),
        freezes=tuple(_freeze(entry) for entry in rules.get("freeze", ())),
        approval_hours=rules.get("approval_hours", DEFAULT_APPROVAL_HOURS),
        overrides=overrides,
        digest=digest,
    )


def _move(entry: Table) -> Move:
    return Move(
        from_stage=entry["from_stage"],
        to_stage=entry["to_stage"],
        via=Cause(entry["via"]),
        asks=_requirements(entry, verify_artifact=entry["verify_artifact"]),
        approvals=entry["approvals"],
    )


def _alias(entry: Table) -> AliasRule:
    return AliasRule(
        pattern=entry["name"],
        stage=entry.get("stage"),
        action=Action(entry.get("action", Action.WRITE)),
        stages=tuple(entry.get("stages", ())),
        asks=_requirements(entry),
    )


def _requirements(entry: Table, *, verify_artifact: bool = False) -> Requirements:
    return Requirements(
        verify_artifact=verify_artifact,
        require_verified=entry["require_verified"],
        required_tags=tuple(entry["required_tags"]),
        metrics=tuple(
            MetricThreshold(
                name=name, minimum=bounds.get("min"), maximum=bounds.get("max")
            )
            for name, bounds in entry["metrics"].items()
        ),
        checks=tuple(entry["checks"]),
        min_time_in_stage=timedelta(hours=entry["min_hours_in_stage"]),
    )


def _freeze(entry: Table) -> Freeze:
    weekly = entry.get("weekly")
    return Freeze(
        reason=entry["reason"],
        stages=tuple(entry["stages"]),
        begins=None if weekly else entry["begins"].astimezone(UTC),
        ends=None if weekly else entry["ends"].astimezone(UTC),
        weekly=parse_weekly(weekly) if weekly else None,
        zone=ZoneInfo(entry.get("timezone", "UTC")),
    )


def _exclusive(rules: Table) -> Mapping[str, str]:
    return dict(rules.get("exclusive", {}))


def _shared_rollbacks(rules: Table) -> set[str]:
    """Return the stages that are rolled back automatically although shared."""
    return set(rules.get("automatic_rollback", ())) - _exclusive(rules).keys()


def _stages_named(rules: Table) -> set[str]:
    """Return every stage that the rules name; only a move may name any of them."""
    moves = rules.get("moves", ())
    moved = {move[end] for move in moves for end in ("from_stage", "to_stage")}
    exclusive = _exclusive(rules)
    deletable = rules.get("deletion", {}).get("stages", ())
    rolled_back = rules.get("automatic_rollback", ())
    named = {*exclusive, *exclusive.values(), *deletable, *rolled_back}
    named.update(rules.get("hold_after_rollback", ()))
    for entry in (*rules.get("aliases", ()), *rules.get("freeze", ())):
        named.update(entry.get("stages", ()))
        named.update({entry["stage"]} if "stage" in entry else ())
    return (moved - {ANY}) | named


def _flattened(
    messages: Mapping[Any, Any] | Sequence[Any], place: str = ""
) -> list[str]:
    """Return marshmallow's nested messages as ``place: message`` lines."""
    if not isinstance(messages, Mapping):
        return [f"{place or 'file'}: {message}" for message in messages]
    problems: list[str] = []
    for key, nested in messages.items():
        if key == "_schema":
            problems += _flattened(nested, place)
        else:
            problems += _flattened(nested, f"{place}.{key}" if place else str(key))
    return problems
