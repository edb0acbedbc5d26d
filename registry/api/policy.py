"""``/policy``: where versions may move, for those who plan ahead."""

from typing import Any

from flask import Response, jsonify

from registry.api.blueprints import Blueprint
from registry.api.schemas.policy import PolicyDocument, PolicyQuery
from registry.auth.permissions import NONE, Permission, requires
from registry.domain.names import clean_text
from registry.web.commands import parts

blueprint = Blueprint("policy", __name__, description="The stage policy")


@blueprint.route("/policy", methods=["GET"])
@requires(Permission.READ, model=NONE)
@blueprint.arguments(PolicyQuery, location="query")
@blueprint.response(200, PolicyDocument)
def get_policy(query: dict[str, Any]) -> Response:
    """Show the stage policy, as it holds for models of a name.

    The name need not be registered yet. Rollbacks are not listed: they depend on
    where a version has been.
    """
    rules = policy = parts().policy
    if query["model"] is not None:
        rules = policy.for_model(clean_text(query["model"], field="model"))
    return jsonify(
        {
            "stages": list(rules.stages),
            "transitions": {
                stage: list(rules.allowed_from(stage)) for stage in rules.stages
            },
            "exclusive": dict(rules.exclusive),
            "deletable": sorted(rules.deletable),
            "digest": policy.digest,
        }
    )
