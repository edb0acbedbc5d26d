"""An MLflow registry server of as much as an import reads, in the measured shapes.

It stands in where MLflow's own server would be too slow or could not be made to do
what a test needs; ``tests/mlflow`` has the real one.
"""

import json
import re
from dataclasses import dataclass, field
from typing import Any

from tests.unit.fake_registry import Answer, Asked, FakeRegistry, json_answer

API = "/api/2.0/mlflow"
CREATED_AT = 1_795_262_400_123  # 2026-11-21T12:00:00.123Z
IS_PROMPT = {"key": "mlflow.prompt.is_prompt", "value": "true"}
OF_PROMPTS = "tags.`mlflow.prompt.is_prompt` = 'true'"

Document = dict[str, Any]


@dataclass
class MlflowPages:
    """Models and versions, in pages of ``page_size`` whatever is asked for."""

    fake: FakeRegistry
    page_size: int = 2
    models: list[Document] = field(default_factory=list)
    versions: list[Document] = field(default_factory=list)
    addresses: dict[tuple[str, str], str] = field(default_factory=dict)
    #: What is answered in place of every address.
    no_address: Answer | None = None
    #: What is answered in place of every page.
    instead: Answer | None = None
    #: The model whose versions cannot be listed.
    broken: str = ""

    def __post_init__(self) -> None:
        self.fake.on(
            "GET",
            f"{API}/registered-models/search",
            lambda asked: self._page(
                asked, "registered_models", _shown(asked, self.models)
            ),
        )
        self.fake.on("GET", f"{API}/model-versions/search", self._found_versions)
        self.fake.on("GET", f"{API}/model-versions/get", self._version)
        self.fake.on("GET", f"{API}/model-versions/get-download-uri", self._address)

    def model(
        self, name: str, *stages: str | None, aliases: dict[str, int] | None = None
    ) -> None:
        """A model; a version for each stage, None for one that was deleted."""
        self.models.append(
            {
                "name": name,
                "creation_timestamp": CREATED_AT,
                "last_updated_timestamp": CREATED_AT,
                "description": f"about {name}",
                "tags": [{"key": "team", "value": "risk"}],
                "aliases": [
                    {"alias": alias, "version": str(number)}
                    for alias, number in (aliases or {}).items()
                ],
            }
        )
        for number, stage in enumerate(stages, start=1):
            if stage is not None:
                self.version(name, number, current_stage=stage)

    def prompt(
        self, name: str, *texts: str | None, aliases: dict[str, int] | None = None
    ) -> None:
        """A prompt; a version for each text, None for one that was deleted."""
        self.model(name, aliases=aliases)
        self.models[-1]["tags"].append(IS_PROMPT)
        for number, text in enumerate(texts, start=1):
            tags = [IS_PROMPT, {"key": "mlflow.prompt.text", "value": text}]
            if text is not None:
                self.version(name, number, source="dummy-source", tags=tags)

    def version(self, name: str, number: int, **members: object) -> None:
        """A version of a model."""
        self.versions.append(
            {
                "name": name,
                "version": str(number),
                "creation_timestamp": CREATED_AT,
                "last_updated_timestamp": CREATED_AT,
                "current_stage": "None",
                "description": "",
                "source": f"gs://models/{name}/{number}",
                "run_id": f"run-{number}",
                "status": "READY",
                "run_link": "",
                **members,
            }
        )

    def asked_for(self, path: str) -> list[Asked]:
        return [one for one in self.fake.asked if one.path == f"{API}/{path}"]

    def _found_versions(self, asked: Asked) -> Answer:
        filter_text = asked.query["filter"].removesuffix(f" AND {OF_PROMPTS}")
        match = re.fullmatch(r"name (=|LIKE) (['\"])(.*)\2", filter_text)
        assert match is not None, asked.query
        _operator, quote, text = match.groups()
        if text == self.broken:
            return error_answer(400, "INTERNAL_ERROR", "cannot be shown")
        assert quote not in text, "MLflow has no escape for a quote"
        pattern = re.compile(re.escape(text).replace("_", ".").replace("%", ".*"))
        is_equal = match[1] == "="
        found = [
            one
            for one in self.versions
            if (one["name"] == text if is_equal else pattern.fullmatch(one["name"]))
        ]
        return self._page(asked, "model_versions", _shown(asked, found))

    def _page(self, asked: Asked, member: str, documents: list[Document]) -> Answer:
        if self.instead is not None:
            return self.instead
        begin = int(asked.query.get("page_token", "0"))
        end = begin + self.page_size
        page: Document = {}
        if documents[begin:end]:
            page[member] = documents[begin:end]
        if end < len(documents):
            page["next_page_token"] = str(end)
        return json_answer(page)

    def _version(self, asked: Asked) -> Answer:
        for one in self.versions:
            if one["name"] == asked.query["name"] and (
                one["version"] == asked.query["version"]
            ):
                return json_answer({"model_version": one})
        return error_answer(404, "RESOURCE_DOES_NOT_EXIST", "no such version")

    def _address(self, asked: Asked) -> Answer:
        if self.no_address is not None:
            return self.no_address
        address = self.addresses.get((asked.query["name"], asked.query["version"]))
        if address is None:
            return error_answer(404, "RESOURCE_DOES_NOT_EXIST", "no such version")
        return json_answer({"artifact_uri": address})


def _shown(asked: Asked, documents: list[Document]) -> list[Document]:
    """Prompts to who asks for them, and nothing else; models to all others."""
    wants_prompts = asked.query.get("filter", "").endswith(OF_PROMPTS)
    return [
        one for one in documents if (IS_PROMPT in one.get("tags", ())) is wants_prompts
    ]


def error_answer(status: int, code: str, message: str) -> Answer:
    body = json.dumps({"error_code": code, "message": message}).encode()
    return Answer(status, body, {"Content-Type": "application/json"})
