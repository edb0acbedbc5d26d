"""Fills a registry with all that a release keeps, and writes it down.

``0011-sqlite.json`` and ``0011-postgresql.json`` are the rows that the release with
that schema wrote, and what it answered about them. They were made by its own code: in
a checkout of that release, with this directory copied to the same place in it,

    python -m tests.integration.releases.filling 0011

Nothing of it is made again later: it is what stands in the databases of users.
"""

import json
import sqlite3
import sys
import unicodedata
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import quote

from tests.integration.api.driver import Document, Driver, declared, document_of
from tests.integration.conftest import close_app, make_app, signed_in
from tests.services import postgres
from tests.services.fresh_database import Contents, connect

HERE = Path(__file__).parent
#: Where its data lay; a registry whose directory is moved finds them by ``moved``.
PLACE = Path("/tmp/stagegate-release")  # noqa: S108  # only in the text of rows
ODD = "größe/ü 5%25 😀/'quoted\"; --.bin"
PATHS = (
    *(unicodedata.normalize(form, ODD) for form in ("NFC", "NFD")),
    *("empty", "a.b", "a/b", "a/c d", "a0", "Data/X", "data/x", "\uffff", "🙂/{}"),
)
MANY = [f"empty/{number:04}" for number in range(1_001)]
EVENTS = "/events?limit=200"
HOOK = {"url": "http://127.0.0.1:9/hook"}
KEY = {"Idempotency-Key": "build-7"}


def content_of(path: str) -> bytes:
    """What a file of that path holds."""
    return b"" if path.startswith("empty") else path.encode()


def upload(api: Driver, model: str, paths: Sequence[str]) -> None:
    files = {path: content_of(path) for path in paths}
    place = f"/models/{model}/versions/{api.register(model)}"
    for path, content in files.items():
        done(api.put(f"{place}/artifacts/{quote(path)}", data=content))
    done(api.post(f"{place}/finalize", declared(files)))


def fill(api: Driver) -> None:
    """Every kind of row, by the ways that users have."""
    done(api.post("/webhooks", {**HOOK, "event_types": ["*"]}))
    api.create_model("fraud", description="größe", tags={"team": "risk"})
    for paths in (["model.bin"], PATHS, ["model.bin", "b"], ["empty"], ["x"], ["y"]):
        upload(api, "fraud", paths)
    api.serve(1, 2)
    done(api.rollback("fraud", reason="slow"))
    api.moved(3, "Staging")
    api.moved(4, "Staging", "Archived")
    for alias, number in (("champion", 1), ("old-one", 4)):
        done(api.put(f"/models/fraud/aliases/{alias}", json={"version": number}))
    done(api.delete("/models/fraud/versions/6"))
    tags = {"tags": {"approved": "ja ü", "empty": ""}, "description": "the 3rd"}
    done(api.patch("/models/fraud/versions/3", tags))
    body = {"status": "succeeded", "environment": "eu"}
    done(api.post("/models/fraud/versions/1/deployments", body))
    comment = {"name": "fraud", "version": "1", "comment": "größer"}
    done(api.client.post("/api/2.0/mlflow/comments/create", json=comment))
    api.moved(5, "Staging")
    fill_others(api)
    wait_for_uploads(api)
    done(move_with_key(api))


def fill_others(api: Driver) -> None:
    """Models of no versions, with other names, removed; copies, links, a prompt."""
    api.create_model("empty")
    api.create_model("churn")
    api.register("churn", source="s3://elsewhere/churn", params={"depth": "6"})
    api.register("churn", source="models:/fraud/2", metrics={"auc": 0.9})
    done(api.patch("/models/churn", {"name": "churn-eu"}))
    api.ready_versions(1, "gone")
    done(api.delete("/models/gone"))
    api.create_model("churn", tags={"now": "another"})
    tags = {"mlflow.prompt.is_prompt": "true"}
    api.create_model("greet", tags=tags)
    api.register(
        "greet", source="dummy-source", tags={**tags, "mlflow.prompt.text": "hi"}
    )
    done(api.post("/tokens", {"name": "reader", "role": "viewer"}))


def wait_for_uploads(api: Driver) -> None:
    """One of many files; then one that failed, and two that are still to come."""
    api.create_model("many")
    for _ in range(2):
        upload(api, "many", MANY)
        if api.version(1, "many")["status"] != "READY":
            api.work_in_background()
    done(
        api.post(f"/models/many/versions/{api.register('many')}/abort", {"reason": "x"})
    )
    api.register("many")


def move_with_key(api: Driver) -> Any:  # noqa: ANN401  # the answer of Flask's client
    body = {"to_stage": "Production", "reason": "keyed", "expected_incumbent": 1}
    return api.post("/models/fraud/versions/3/transitions", body, headers=KEY)


def done(answer: Any) -> None:  # noqa: ANN401  # as above
    assert answer.status_code in {200, 201, 204}, answer.get_data(as_text=True)


def answers(api: Driver) -> dict[str, Document]:
    """What is there, as the API tells it."""
    found = {path: api.read(path) for path in ("/models", "/models?prompts=true")}
    for name in ("fraud", "empty", "churn", "churn-eu", "greet", "many"):
        of_model = f"/models/{name}"
        for each in (
            "",
            "/history?limit=200",
            "/aliases/champion",
            "/stages/Production",
        ):
            answer = api.get(of_model + each)
            is_there = answer.status_code == 200
            found[of_model + each] = document_of(answer) if is_there else {}
        versions = f"{of_model}/versions?limit=200"
        found[versions] = api.read(versions)
        for version in found[versions]["items"]:
            path = f"{of_model}/versions/{version['version']}"
            for each in ("artifacts?limit=30", "deployments"):
                found[f"{path}/{each}"] = api.read(f"{path}/{each}")
    return {**found, EVENTS: api.read(EVENTS)}


def write_down(revision: str, kind: str, **settings: str) -> None:
    app = make_app(PLACE / kind, **settings)
    api = Driver(app, signed_in(app))
    fill(api)
    told: dict[str, Any] = {"answers": answers(api)}
    close_app(app)
    if kind == "sqlite":
        with closing(sqlite3.connect(PLACE / kind / "data/stagegate.db")) as connection:
            lines = list(connection.iterdump())
        rows: Any = [line for line in lines if line.startswith("INSERT INTO")]
        told["rows"] = [row for row in rows if '"alembic_version"' not in row]
    else:
        with connect(settings["DATABASE_URL"]) as connected:
            contents = Contents.of(connected)
        del contents.rows["alembic_version"]
        told["rows"] = {
            name: text.decode().split("\n") for name, text in contents.rows.items()
        }
        told["numbers"] = contents.numbers
    text = json.dumps(told, ensure_ascii=False, indent=0, sort_keys=True)
    (HERE / f"{revision}-{kind}.json").write_text(f"{text}\n", encoding="utf-8")


def main(revision: str) -> None:
    write_down(revision, "sqlite")
    binaries = postgres.find_binaries()
    assert binaries is not None
    with postgres.run_server(binaries) as server, server.fresh_database() as url:
        write_down(revision, "postgresql", DATABASE_URL=url)


if __name__ == "__main__":
    main(sys.argv[1])
