"""``/policy``: where versions may move, as a picture and as tables."""

from flask import Blueprint, Response, request

from registry.auth.permissions import NONE, Permission, requires
from registry.domain.names import clean_text
from registry.domain.policy import StagePolicy
from registry.errors import NotFoundError
from registry.ui import policy_shown
from registry.ui.pages import page
from registry.web.commands import parts

blueprint = Blueprint("policy", __name__)


@blueprint.get("/policy")
@requires(Permission.READ, model=NONE)
def show() -> Response:
    """Show the rules for most models, for those of a pattern, or for one."""
    policy = parts().policy
    model = request.args.get("model", "").strip()
    if model:
        rules = policy.for_model(clean_text(model, field="model"))
        pattern = next((p for p, found in policy.overrides if found is rules), None)
    else:
        pattern = request.args.get("pattern")
        rules = policy if pattern is None else _override(policy, pattern)
    return page(
        "policy.html",
        rules=rules,
        pattern=pattern,
        model=model,
        patterns=[pattern for pattern, _ in policy.overrides],
        digest_of_all=policy.digest,
        picture=policy_shown.picture(rules),
        shown=policy_shown,
    )


def _override(policy: StagePolicy, pattern: str) -> StagePolicy:
    for known, rules in policy.overrides:
        if known == pattern:
            return rules
    raise NotFoundError(f"the policy has no rules for {pattern!r}")
