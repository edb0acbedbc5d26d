"""Bodies that may be longer than the others: a limit of a route's own.

The limit of all others stands in ``registry.app``. Sign-in comes first, so that
only those who may use the route can send that much.
"""

from collections.abc import Callable
from functools import wraps
from typing import ParamSpec, TypeVar

from flask import request

Arguments = ParamSpec("Arguments")
Answer = TypeVar("Answer")
View = Callable[Arguments, Answer]


def accepts_body(
    limit_bytes: int,
) -> Callable[[View[Arguments, Answer]], View[Arguments, Answer]]:
    """Let a view's body be so long; stands above what parses the body."""

    def declare(view: View[Arguments, Answer]) -> View[Arguments, Answer]:
        @wraps(view)
        def limited(*args: Arguments.args, **kwargs: Arguments.kwargs) -> Answer:
            request.max_content_length = limit_bytes
            return view(*args, **kwargs)

        return limited

    return declare
