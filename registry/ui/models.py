"""``/models``: found by name or by MLflow's filters, with what is in use of each.

Rules:

- What is typed is a filter where it begins as one does; else each of its words is to be
  in the name. Either is what MLflow's API would search by.
- A model's delivery, and its deployment, is shown by the worst that there is of it.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from flask import Blueprint, Response, request, url_for
from werkzeug.wrappers import Response as BaseResponse

from registry.api.schemas.models import NewModel
from registry.auth.permissions import MANY, Permission, named, requires
from registry.auth.sign_in import current_caller
from registry.domain import prompts
from registry.domain.actors import readable
from registry.domain.commands.models import CreateModel
from registry.domain.names import clean_text
from registry.errors import InvalidInputError, RegistryError
from registry.persistence.database import reading
from registry.persistence.model_overviews import ModelOverview, overviews
from registry.search import language
from registry.search.language import Attribute, Comparison, Operator, Search
from registry.search.page_tokens import read_token, write_token
from registry.search.pages import find_model_ids
from registry.services.commands import create
from registry.ui.forms import typed
from registry.ui.model_page import model_page
from registry.ui.pages import page, refused, see
from registry.web.commands import commit, parts

blueprint = Blueprint("models", __name__)

_A_PAGE = 50
_KIND = "registered_models"
_FILTER = re.compile(
    r"""\s*(attribute\.)?(name|tags?\.(`[^`]+`|"[^"]+"|[\w.]+))"""
    r"\s*(!?=|[<>]|(I?LIKE|IN|NOT\s+IN)\b)",
    re.IGNORECASE,
)
_ORDERS = {"name": [], "changed": ["last_updated_timestamp DESC"]}
_DONE = {"deleted": "The model is deleted; its history and audit log stay."}
#: The worst first, with the words for them and how they are to be taken.
_DELIVERIES = {
    "blocked": ("blocked", "bad"),
    "dead": ("given up", "bad"),
    "retrying": ("retrying", "warn"),
    "held": ("held", "warn"),
    "waiting": ("waiting", "waiting"),
    "delivered": ("delivered", "good"),
}
_DEPLOYMENTS = {
    "failed": ("failed", "bad"),
    "in_progress": ("in progress", "waiting"),
    "pending": ("pending", "waiting"),
    "succeeded": ("succeeded", "good"),
}


class Health(NamedTuple):
    """The worst state that there is, in words, and how often."""

    state: str
    text: str
    tone: str
    times: int


@dataclass(frozen=True, kw_only=True)
class _Asked:
    """What the address of a list asks for."""

    q: str = ""
    order: str = "name"
    kind: str = "models"
    after: str = ""

    @classmethod
    def of_request(cls) -> "_Asked":
        """Return what the present address asks for."""
        return cls(**{name: request.args[name] for name in _FIELDS & {*request.args}})

    @property
    def is_filter(self) -> bool:
        """Whether what is typed is a filter, and not words of a name."""
        return _FILTER.match(self.q) is not None

    def search(self) -> Search:
        """Return what to search for.

        Raises:
            InvalidInputError: for a filter or an order that is none.
        """
        if self.order not in _ORDERS:
            raise InvalidInputError(f"expected {' or '.join(_ORDERS)}", field="order")
        typed = self.q if self.is_filter else ""
        try:
            search = language.parse_search(language.MODELS, typed, _ORDERS[self.order])
        except InvalidInputError as error:
            raise InvalidInputError(f"Filter: {error.message}", field="q") from error
        of_words = () if self.is_filter else _words(self.q)
        comparisons = (*search.comparisons, *of_words)
        if self.kind == "prompts":
            return replace(
                search, comparisons=(*comparisons, _IS_PROMPT), hides_prompts=False
            )
        return replace(search, comparisons=comparisons)

    def address(self, **changes: str) -> str:
        """Return the address of the same list but for the changes; its first page."""
        unlike_usual = {
            name: value
            for name, value in {**vars(self), "after": "", **changes}.items()
            if value != getattr(_USUAL, name)
        }
        return url_for("ui.models.index", **unlike_usual)


_USUAL = _Asked()
_FIELDS = vars(_USUAL).keys()
_IS_PROMPT = Comparison(tag=prompts.PROMPT_TAG, operator=Operator.EQUAL, value="true")


def _words(text: str) -> list[Comparison]:
    words = clean_text(text, field="q").split()
    if len(words) > language.MAX_COMPARISONS - 1:
        raise InvalidInputError("has too many words", field="q")
    return [
        Comparison(attribute=Attribute.NAME, operator=Operator.ILIKE, value=f"%{word}%")
        for word in words
    ]


@blueprint.get("/models")
@requires(Permission.READ, model=MANY)
def index() -> Response:
    """List models."""
    asked = _Asked.of_request()
    try:
        found = _found(asked)
    except InvalidInputError as error:
        return refused("models.html", error, **_nothing(asked))
    return page("models.html", **found)


def _found(asked: _Asked) -> dict[str, Any]:
    search = asked.search()
    after = read_token(_KIND, search, asked.after) if asked.after else None
    with parts().rooms.searches.place():
        found = find_model_ids(
            reading(),
            search,
            after=after,
            limit=_A_PAGE + 1,
            readable=list(readable(current_caller().actor)),
        )
    shown, is_more = found[:_A_PAGE], len(found) > _A_PAGE
    stages = parts().policy.stages_in_use[::-1]
    models = overviews(reading(), [id_ for id_, _ in shown], stages)
    following = write_token(_KIND, search, shown[-1][1]) if is_more else ""
    return {
        **_nothing(asked),
        "models": models,
        "next": asked.address(after=following) if is_more else None,
        "first": asked.address() if asked.after else None,
    }


def _nothing(asked: _Asked) -> dict[str, Any]:
    """Return what the page knows before anything is found."""
    return {
        "asked": asked,
        "stages": parts().policy.stages_in_use[::-1],
        "models": [],
        "done": _DONE.get(request.args.get("done", "")),
        "delivery": delivery,
        "deployment": deployment,
    }


def delivery(model: ModelOverview) -> Health | None:
    """Return how it is with the deliveries of a model; None where nobody is told."""
    return _worst(model.deliveries, _DELIVERIES)


def deployment(model: ModelOverview) -> Health | None:
    """Return how it is with what is deployed of it; None where nobody reported."""
    return _worst(model.deployments, _DEPLOYMENTS)


def _worst(
    counts: Mapping[str, int], known: Mapping[str, tuple[str, str]]
) -> Health | None:
    for state, told in known.items():
        if counts.get(state):
            return Health(state, *told, counts[state])
    return None


def _name_in_form() -> list[str]:
    return [clean_text(request.form.get("name", "").strip(), field="name")]


@blueprint.post("/models")
@requires(Permission.WRITE, model=named(_name_in_form))
def create_model() -> BaseResponse:
    """Register a model."""
    form = request.form
    said = {key: form.get(key, "").strip() for key in ("name", "description")}
    try:
        body = typed(NewModel(), **said)
        new = CreateModel(model=body.pop("name"), **body)
        commit(lambda tx: create(tx, new).document)
    except RegistryError as error:
        return refused("models.html", error, **_found(_USUAL), form=form)
    (name,) = _name_in_form()
    return see(url_for("ui.models.show", name=name, done="created"))


@blueprint.get("/models/<name:name>")
@requires(Permission.READ)
def show(name: str) -> Response:
    """Show a model, or a prompt."""
    return model_page(name)
