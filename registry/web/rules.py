"""Rules for URLs, of which only those that are asked for cost a start its time."""

import functools
from collections.abc import Callable
from typing import Any

from werkzeug.routing import Rule


class LateRule(Rule):
    """Compile what writes the URLs of a rule when the first one is written.

    Werkzeug compiles two functions for each rule as the rule is added, which was four
    fifths of the time that an application takes to build.
    """

    # The hook is Werkzeug's own. Should it go, rules are compiled at once again.
    def _compile_builder(
        self,
        append_unknown: bool = True,  # noqa: FBT001, FBT002  # as Werkzeug has it
    ) -> Callable[..., tuple[str, str]]:
        compiled = functools.cache(
            functools.partial(super()._compile_builder, append_unknown)
        )

        def build(rule: Rule, /, **values: Any) -> tuple[str, str]:  # noqa: ANN401
            return compiled()(rule, **values)

        return build
