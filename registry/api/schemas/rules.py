"""Fields of requests and answers, made of rules in JSON Schema.

A rule may have more than JSON Schema: ``error`` is what to say where a ``pattern`` does
not fit, and members of an object that ``merges`` may be null, which removes them.
"""

from collections.abc import Mapping
from typing import Any

from marshmallow import fields, validate

from registry.api.schemas.base import text, whole_number

Rule = Mapping[str, Any]
Field = fields.Field[Any]


def request_field(rule: Rule, **options: Any) -> Field:  # noqa: ANN401  # marshmallow's own keywords
    """Return what refuses a value that the rule does not allow."""
    match rule:
        case {"type": "array", "items": items, "maxItems": most}:
            rules = validate.Length(min=rule["minItems"], max=most)
            return fields.List(request_field(items), validate=rules, **options)
        case {"type": "object", "propertyNames": names}:
            values = rule.get("additionalProperties")
            may_go = {"allow_none": True} if rule.get("merges") else {}
            return fields.Dict(
                keys=request_field(names),
                values=values and request_field(values, **may_go),
                **options,
            )
        case {"type": "integer", "minimum": least, "maximum": most}:
            return whole_number(minimum=least, maximum=most, **options)
        case {"pattern": _} | {"format": _} | {"enum": _}:
            return fields.String(validate=_checks(rule), **options)
    return text(minimum=rule["minLength"], maximum=rule["maxLength"], **options)


def answer_field(rule: Rule, **options: Any) -> Field:  # noqa: ANN401  # marshmallow's own keywords
    """Return what describes a value that the rule allows."""
    match rule:
        case {"type": "array", "items": items}:
            return fields.List(answer_field(items), **options)
        case {"type": "object"}:
            entries = [fields.String()] * 2 if "additionalProperties" in rule else []
            return fields.Dict(*entries, **options)
        case {"type": "integer"}:
            return fields.Integer(**options)
    return fields.String(**options)


def _checks(rule: Rule) -> list[validate.Validator]:
    checks: list[validate.Validator] = []
    if "maxLength" in rule:
        checks.append(validate.Length(min=rule.get("minLength"), max=rule["maxLength"]))
    if "pattern" in rule:
        checks.append(validate.Regexp(rule["pattern"], error=rule.get("error")))
    if "enum" in rule:
        checks.append(validate.OneOf(rule["enum"]))
    return checks
