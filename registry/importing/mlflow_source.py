"""An MLflow registry server, read over its REST API (``/api/2.0/mlflow``).

Rules:

- Nothing but GET: the source is left as it is.
- Credentials come from the environment, as MLflow's own client reads them: a user
  and a password before a token. They go to that server and nowhere else.
- Prompts are models too, which MLflow shows to those only who ask for prompts.
"""

import re
import unicodedata
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from itertools import filterfalse
from typing import Any, Self

import requests
from requests.auth import HTTPBasicAuth

from registry.addresses import server_address
from registry.client.connection import open_session
from registry.client.transport import unreachable_named
from registry.errors import (
    InvalidInputError,
    PermissionDeniedError,
    RegistryError,
)
from registry.importing.plan import scheme_of
from registry.importing.states import (
    NONE,
    PROMPT_TAG,
    READY,
    SourceModel,
    SourceVersion,
)

API_PATH = "/api/2.0/mlflow"
TIMEOUT_SECONDS = (10, 120)
MODELS_A_PAGE = 200
VERSIONS_A_PAGE = 1000

_OF_PROMPTS = f"tags.`{PROMPT_TAG}` = 'true'"
#: Addresses that mean something only to a registry or to a tracking server.
_INDIRECT = frozenset({"models", "runs"})
#: Stores that an address of an artifact leads to without asking anybody.
_STORES = frozenset({"s3", "gs", "wasbs", "dbfs"})
_DATABASES = frozenset({"sqlite", "postgresql", "postgres", "mysql", "mssql"})

_UNQUOTABLE = re.compile(r"""['"\\]""")

#: How MLflow says that it knows nothing of what was asked for.
_REFUSALS = frozenset({requests.codes.bad_request, requests.codes.not_found})

Json = Mapping[str, Any]


class NotToldError(RegistryError):
    """The server has an answer for this question, and it is no: 400 or 404."""


class MlflowServer:
    """The models of one MLflow server."""

    def __init__(
        self, uri: str, *, token: str | None = None, environ: Mapping[str, str]
    ) -> None:
        """Prepare; nothing is sent yet.

        Args:
            uri: the server's address, as ``MLFLOW_REGISTRY_URI`` would have it.
            token: a bearer token that goes before what the environment says.
            environ: where MLflow's own variables are looked up.

        Raises:
            InvalidInputError: when this is not the address of a server, or no token.
        """
        self.origin = _checked_origin(uri)
        bearer = token or environ.get("MLFLOW_TRACKING_TOKEN", "").strip()
        self._session = open_session(bearer)
        user = environ.get("MLFLOW_TRACKING_USERNAME")
        password = environ.get("MLFLOW_TRACKING_PASSWORD")
        if not token and user and password:
            self._session.auth = HTTPBasicAuth(user.encode(), password.encode())
        self.has_credentials = bool(bearer or (user and password))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        self._session.close()

    def models(self) -> Iterator[SourceModel]:
        """Every model, without its versions, page after page.

        Raises:
            RegistryError: what the server said.
        """
        return filterfalse(_is_hidden, self._found())

    def prompts(self) -> Iterator[SourceModel]:
        """Every prompt, without its versions, page after page.

        Raises:
            RegistryError: what the server said.
        """
        return filter(_is_hidden, self._found(filter=_OF_PROMPTS))

    def _found(self, **narrowed: str) -> Iterator[SourceModel]:
        asked = {"max_results": MODELS_A_PAGE, "order_by": "name ASC", **narrowed}
        path = "registered-models/search"
        return map(_model, self._pages(path, asked, "registered_models"))

    def with_versions(self, model: SourceModel) -> SourceModel:
        """The model with its versions.

        Raises:
            RegistryError: what the server said.
        """
        named = _named(model.name)
        if _is_hidden(model):
            named = f"{named} AND {_OF_PROMPTS}"
        asked = {"filter": named, "max_results": VERSIONS_A_PAGE}
        found = self._pages("model-versions/search", asked, "model_versions")
        # A filter may be wider than the name: by LIKE, or by the database's collation.
        versions = [_version(one) for one in found if one.get("name") == model.name]
        return replace(model, versions={one.number: one for one in versions})

    def address_of(self, model: SourceModel, version: SourceVersion) -> str:
        """Where the artifact lies, in a store if the server knows one.

        A source such as ``models:/m-…`` can be read only as long as this server is
        there to ask; the store it leads to can be read without it.

        Raises:
            RegistryError: when the server may answer if it is asked again. Taken for
                an answer, a passing fault would leave the version unpinned for ever.
        """
        if scheme_of(version.source) not in _INDIRECT:
            return version.source
        asked = {"name": model.name, "version": str(version.number)}
        try:
            answer = self._get("model-versions/get-download-uri", asked)
        except NotToldError:
            return version.source
        address = str(answer.get("artifact_uri", ""))
        return _text(address) if scheme_of(address) in _STORES else version.source

    def version(self, name: str, number: int) -> SourceVersion:
        """One version.

        Raises:
            NotToldError: when there is none.
            RegistryError: what else the server said.
        """
        asked = {"name": name, "version": str(number)}
        found = self._get("model-versions/get", asked).get("model_version")
        if not isinstance(found, dict):
            raise RegistryError(f"{self.origin} answers without a version of {name}")
        return _version(found)

    def _pages(
        self, path: str, asked: Mapping[str, Any], member: str
    ) -> Iterator[Json]:
        query = dict(asked)
        while True:
            page = self._get(path, query)
            yield from page.get(member) or ()
            token = page.get("next_page_token")
            if not token:
                return
            if token == query.get("page_token"):
                raise RegistryError(f"{self.origin} answers {path} without an end")
            query["page_token"] = token

    def _get(self, path: str, query: Mapping[str, Any]) -> Json:
        with unreachable_named(self.origin):
            response = self._session.get(
                f"{self.origin}{API_PATH}/{path}",
                params=query,
                timeout=TIMEOUT_SECONDS,
                allow_redirects=False,
            )
        return self._document(response)

    def _document(self, response: requests.Response) -> Json:
        try:
            document = response.json()
        except requests.exceptions.JSONDecodeError:
            document = None
        if response.status_code in {401, 403}:
            raise PermissionDeniedError(
                f"{self.origin} answered {response.status_code}: give credentials that"
                " may read it, by MLFLOW_TRACKING_USERNAME and ..._PASSWORD, by"
                " MLFLOW_TRACKING_TOKEN, or by --from-token"
            )
        if not isinstance(document, dict):
            raise RegistryError(
                f"{self.origin} answered {response.status_code} and no JSON object:"
                " is this an MLflow server?"
            )
        if response.status_code != requests.codes.ok:
            said = document.get("message") or document.get("error_code") or ""
            kind = NotToldError if response.status_code in _REFUSALS else RegistryError
            raise kind(f"{self.origin} answered {response.status_code}: {said}")
        return document


def _checked_origin(uri: str) -> str:
    origin = uri.strip()
    scheme = scheme_of(origin)
    if scheme.partition("+")[0] in _DATABASES:
        raise InvalidInputError(
            "This is the database of an MLflow registry; only its server is read."
            " Start one on it (mlflow server --backend-store-uri …) and point at that",
            field="from",
        )
    try:
        return server_address(origin).removesuffix(API_PATH)
    except ValueError as error:
        raise InvalidInputError(
            f"This is not the address of an MLflow server: {error}; credentials go into"
            " MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD",
            field="from",
        ) from error


def _named(name: str) -> str:
    """The filter for a model; quotes cannot be escaped in MLflow's filters."""
    if "\\" in name or ("'" in name and '"' in name):
        return f"name LIKE '{_UNQUOTABLE.sub('_', name)}'"
    quote = '"' if "'" in name else "'"
    return f"name = {quote}{name}{quote}"


def _is_hidden(model: SourceModel) -> bool:
    """Whether MLflow finds it only where prompts are asked for."""
    return model.tags.get(PROMPT_TAG) == "true"


def _model(found: Json) -> SourceModel:
    return SourceModel(
        name=str(found["name"]),
        description=_text(found.get("description")),
        tags=_tags(found),
        aliases={
            _text(one["alias"]): int(one["version"])
            for one in found.get("aliases") or ()
        },
        created_at=_instant(found.get("creation_timestamp")),
        created_by=_text(found.get("user_id")),
    )


def _version(found: Json) -> SourceVersion:
    return SourceVersion(
        number=int(found["version"]),
        source=_text(found.get("source")),
        stage=_text(found.get("current_stage")) or NONE,
        status=_text(found.get("status")) or READY,
        description=_text(found.get("description")),
        tags=_tags(found),
        run_id=_text(found.get("run_id")),
        run_link=_text(found.get("run_link")),
        created_at=_instant(found.get("creation_timestamp")),
        created_by=_text(found.get("user_id")),
    )


def _tags(found: Json) -> dict[str, str]:
    return {
        _text(one["key"]): _text(one.get("value")) for one in found.get("tags") or ()
    }


def _text(value: object) -> str:
    return unicodedata.normalize("NFC", str(value or ""))


def _instant(milliseconds: object) -> str:
    """RFC 3339 of epoch milliseconds, which JSON may have as a number or as text."""
    if milliseconds in {None, ""}:
        return ""
    instant = datetime.fromtimestamp(int(str(milliseconds)) / 1000, UTC)
    return f"{instant.replace(tzinfo=None).isoformat(timespec='milliseconds')}Z"
