"""``registered-models/search`` and ``model-versions/search``.

Rules, as MLflow's server and clients have them:

- A page of versions holds 10,000 at most, however many are asked for, and any page
  ends early that has grown large: clients page on by the token whenever there is one.
- The last page has no token, also when it is full.
- Versions come without their aliases, here and inside models.
"""

from flask import Blueprint, Response, request
from sqlalchemy.exc import OperationalError

from registry.auth.permissions import MANY, Permission, requires
from registry.auth.sign_in import current_caller
from registry.domain.actors import readable
from registry.errors import InvalidInputError
from registry.mlflow_api.documents import (
    Document,
    list_answer,
    model_document,
    version_document,
)
from registry.mlflow_api.errors import search_error
from registry.mlflow_api.reading import Fields, fields_of
from registry.persistence.database import reading
from registry.persistence.readable import Readable
from registry.search import language
from registry.search.language import parse_search
from registry.search.page_tokens import read_token, write_token
from registry.search.pages import (
    ModelResult,
    VersionResult,
    find_models,
    find_versions,
)
from registry.web.commands import parts
from registry.web.paging import fill

MAX_PAGE_OF_VERSIONS = 10_000
#: More than elsewhere: some who ask for a thousand do not look for a token.
MAX_CHARACTERS = 8_000_000
_MODELS_UNASKED, _MODELS_AT_MOST = 100, 1_000
_VERSIONS_AT_MOST = 200_000
_MODELS, _VERSIONS = "registered_models", "model_versions"

blueprint = Blueprint("search", __name__, url_prefix="/mlflow")
blueprint.register_error_handler(OperationalError, search_error)


@blueprint.get("/registered-models/search")
@requires(Permission.READ, model=MANY)
def search_registered_models() -> Response:
    """Find models, each with its latest version of each stage."""
    fields = fields_of(request)
    search = parse_search(
        language.MODELS, fields.text("filter"), fields.texts("order_by")
    )
    limit = _limit(fields, unasked=_MODELS_UNASKED, at_most=_MODELS_AT_MOST)
    token = fields.text("page_token")
    after = read_token(_MODELS, search, token) if token else None
    stages = parts().policy.stages
    with parts().rooms.searches.place():
        models = find_models(
            reading(),
            search,
            after=after,
            limit=limit + 1,
            stages=stages,
            readable=_readable(),
        )
        filled = fill(
            models,
            limit,
            document=_shown_model,
            characters=MAX_CHARACTERS,
        )
    return list_answer(
        _MODELS,
        filled,
        lambda last: write_token(_MODELS, search, last[0]),
    )


def _shown_model(result: ModelResult) -> Document | None:
    _, shown = result
    if shown is None:
        return None
    model, latest = shown
    return model_document(model, latest)


@blueprint.get("/model-versions/search")
@requires(Permission.READ, model=MANY)
def search_model_versions() -> Response:
    """Find versions of any model."""
    fields = fields_of(request)
    search = parse_search(
        language.VERSIONS, fields.text("filter"), fields.texts("order_by")
    )
    page_size = _limit(fields, unasked=_VERSIONS_AT_MOST, at_most=_VERSIONS_AT_MOST)
    limit = min(page_size, MAX_PAGE_OF_VERSIONS)
    token = fields.text("page_token")
    after = read_token(_VERSIONS, search, token) if token else None
    with parts().rooms.searches.place():
        versions = find_versions(
            reading(), search, after=after, limit=limit + 1, readable=_readable()
        )
        filled = fill(
            versions,
            limit,
            document=_shown_version,
            characters=MAX_CHARACTERS,
        )
    return list_answer(
        _VERSIONS,
        filled,
        lambda last: write_token(_VERSIONS, search, last[0]),
    )


def _shown_version(result: VersionResult) -> Document | None:
    _, shown = result
    return None if shown is None else version_document(*shown)


def _readable() -> Readable:
    return list(readable(current_caller().actor))


def _limit(fields: Fields, *, unasked: int, at_most: int) -> int:
    limit = fields.whole_number("max_results")
    if limit is None:
        return unasked
    if not 1 <= limit <= at_most:
        raise InvalidInputError(
            f"expected 1 to {at_most}, got {limit}", field="max_results"
        )
    return limit
