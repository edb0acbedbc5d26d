"""Blueprints whose arguments are read strictly, and the bodies of single routes.

Rules:

- A body is parsed by ``registry.web.strict_json``, not by webargs' own parser,
  which lets keys that stand twice and NaN pass.
- A body of another media type is refused: an ignored one would turn "roll back to
  3" into "roll back".
- An argument that stands twice in a query is refused, whether or not anybody reads
  it: readers disagree on which of them counts.
- Unknown query arguments are refused, as unknown members of a body are.
- The limit of all bodies stands in ``registry.app``; a route may have one of its own.
  Sign-in comes first, so that only those who may use the route can send that much.
"""

from collections.abc import Callable
from functools import wraps
from typing import Any, ParamSpec, TypeVar, is_typeddict

import flask_smorest
from flask import Request, current_app, request
from marshmallow import RAISE, Schema
from webargs.core import missing
from webargs.flaskparser import FlaskParser
from werkzeug.exceptions import BadRequest, UnsupportedMediaType

from registry.api.json_schemas import reference

_UNKNOWN_BY_LOCATION = {**FlaskParser.DEFAULT_UNKNOWN_BY_LOCATION, "query": RAISE}


Arguments = ParamSpec("Arguments")
Answer = TypeVar("Answer")
View = Callable[Arguments, Answer]


class StrictParser(FlaskParser):
    """Reads the JSON and the query of a request."""

    DEFAULT_UNKNOWN_BY_LOCATION = _UNKNOWN_BY_LOCATION

    def load_json(self, req: Request, schema: Schema) -> Any:  # noqa: ANN401  # JSON may be anything
        """Parse the body; without one nothing was given."""
        del schema
        body = req.get_data(cache=True)
        if not body:
            return missing
        if not req.is_json:
            raise UnsupportedMediaType("expected a body of type application/json")
        try:
            return current_app.json.loads(body)
        except ValueError as error:
            raise BadRequest(f"the body is not a JSON document: {error}") from error


class Blueprint(flask_smorest.Blueprint):
    """A flask-smorest blueprint with the strict parser."""

    ARGUMENTS_PARSER = StrictParser()

    def __init__(self, *arguments: Any, **options: Any) -> None:  # noqa: ANN401  # flask-smorest's own
        super().__init__(*arguments, **options)
        self.before_request(_refuse_repetition)

    def response(self, status: int, document: Any = None, **options: Any) -> Any:  # noqa: ANN401  # flask-smorest's own
        """Describe an answer, by marshmallow's schema or a typed document."""
        if is_typeddict(document):
            document = reference(document)
        return super().response(status, document, **options)

    def alt_response(self, status: int, document: Any = None, **options: Any) -> Any:  # noqa: ANN401  # flask-smorest's own
        """Describe another answer, by a typed document or not at all."""
        if is_typeddict(document):
            document = reference(document)
        return super().alt_response(status, schema=document, **options)


def _refuse_repetition() -> None:
    for name, values in request.args.lists():
        if len(values) > 1:
            raise BadRequest(f"{name[:80]!r} stands more than once in the query")


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
