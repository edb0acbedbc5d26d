"""Blueprints whose arguments are read strictly.

Rules:

- A body is parsed by ``registry.web.strict_json``, not by webargs' own parser,
  which lets keys that stand twice and NaN pass.
- A body of another media type is refused: an ignored one would turn "roll back to
  3" into "roll back".
- An argument that stands twice in a query is refused, whether or not anybody reads
  it: readers disagree on which of them counts.
- Unknown query arguments are refused, as unknown members of a body are.
"""

from typing import Any, is_typeddict

import flask_smorest
from flask import Request, current_app, request
from marshmallow import RAISE, Schema
from webargs.core import missing
from webargs.flaskparser import FlaskParser
from werkzeug.exceptions import BadRequest, UnsupportedMediaType

from registry.api.json_schemas import reference

_UNKNOWN_BY_LOCATION = {**FlaskParser.DEFAULT_UNKNOWN_BY_LOCATION, "query": RAISE}


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


def _refuse_repetition() -> None:
    for name, values in request.args.lists():
        if len(values) > 1:
            raise BadRequest(f"{name[:80]!r} stands more than once in the query")
