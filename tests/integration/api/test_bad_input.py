"""Bad input: a clear refusal that names the field, and nothing stored."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from tests.hostile_paths import HOSTILE_PATHS
from tests.integration.api.driver import (
    MODEL,
    Driver,
    cursor_of,
    declared,
    document_of,
    problem_of,
)
from tests.integration.api.mutations import VERSIONS, prepare
from tests.integration.conftest import close_app, make_app, signed_in

ONE = f"{VERSIONS}/1"
MIB = 1024 * 1024


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("registry")


@pytest.fixture(scope="module")
def api(directory: Path) -> Iterator[Driver]:
    """One registry for the module: what is refused leaves nothing behind."""
    app = make_app(directory)
    api = Driver(app, signed_in(app))
    prepare(api)
    yield api
    close_app(app)


def stored_files(directory: Path) -> set[str]:
    return {str(file) for file in (directory / "data" / "artifacts").rglob("*")}


# Path, body, the field that is named.
INVALID: dict[str, tuple[str, Any, str]] = {
    "unknown member": ("/models", {"name": "a", "nmae": "b"}, "nmae"),
    "no name": ("/models", {}, "name"),
    "name a number": ("/models", {"name": 7}, "name"),
    "name null": ("/models", {"name": None}, "name"),
    "name a list": ("/models", {"name": ["a"]}, "name"),
    "name empty": ("/models", {"name": ""}, "name"),
    "name blank": ("/models", {"name": "  "}, "name"),
    "name with slash": ("/models", {"name": "a/b"}, "name"),
    "name with colon": ("/models", {"name": "a:b"}, "name"),
    "name dots": ("/models", {"name": ".."}, "name"),
    "name with NUL": ("/models", {"name": "a\0"}, "name"),
    "name with newline": ("/models", {"name": "a\nb"}, "name"),
    "name with surrogate": ("/models", {"name": "\ud800"}, "name"),
    "name too long": ("/models", {"name": "n" * 257}, "name"),
    "description a number": ("/models", {"name": "a", "description": 1}, "description"),
    "description too long": (
        "/models",
        {"name": "a", "description": "d" * 20_001},
        "description",
    ),
    "description with NUL": (
        "/models",
        {"name": "a", "description": "\0"},
        "description",
    ),
    "description with surrogate": (
        "/models",
        {"name": "a", "description": "\udc00"},
        "description",
    ),
    "tags a list": ("/models", {"name": "a", "tags": ["b"]}, "tags"),
    "tag a number": ("/models", {"name": "a", "tags": {"b": 1}}, "tags"),
    "tag null when made": ("/models", {"name": "a", "tags": {"b": None}}, "tags"),
    "tag key dotted": ("/models", {"name": "a", "tags": {"../b": ""}}, "tags"),
    "tag key with surrogate": (
        "/models",
        {"name": "a", "tags": {"\ud800": ""}},
        "tags",
    ),
    "body a list": ("/models", [], "_schema"),
    "body a text": ("/models", "a", "_schema"),
    "source a number": (VERSIONS, {"source": 1}, "source"),
    "source empty": (VERSIONS, {"source": ""}, "source"),
    "source too long": (VERSIONS, {"source": "s3://b/" + "k" * 2000}, "source"),
    "source missing in the store": (
        VERSIONS,
        {"source": "file:///nowhere/at/all"},
        "source",
    ),
    "metric a text": (VERSIONS, {"metrics": {"a": "high"}}, "metrics"),
    "metric a boolean": (VERSIONS, {"metrics": {"a": True}}, "metrics"),
    "metric null": (VERSIONS, {"metrics": {"a": None}}, "metrics"),
    "metric too large": (VERSIONS, {"metrics": {"a": 10**400}}, "metrics"),
    "param a number": (VERSIONS, {"params": {"a": 1}}, "params"),
    "data set without a name": (VERSIONS, {"datasets": [{"digest": "d"}]}, "datasets"),
    "too many data sets": (VERSIONS, {"datasets": [{"name": "a"}] * 101}, "datasets"),
    "no stage": (f"{ONE}/transitions", {}, "to_stage"),
    "unknown stage": (f"{ONE}/transitions", {"to_stage": "Limbo"}, "to_stage"),
    "stage with surrogate": (f"{ONE}/transitions", {"to_stage": "\ud800"}, "to_stage"),
    "stage a number": (f"{ONE}/transitions", {"to_stage": 3}, "to_stage"),
    "incumbent a text": (
        f"{ONE}/transitions",
        {"to_stage": "Staging", "expected_incumbent": "1"},
        "expected_incumbent",
    ),
    "incumbent a fraction": (
        f"{ONE}/transitions",
        {"to_stage": "Staging", "expected_incumbent": 1.5},
        "expected_incumbent",
    ),
    "incumbent zero": (
        f"{ONE}/transitions",
        {"to_stage": "Staging", "expected_incumbent": 0},
        "expected_incumbent",
    ),
    "incumbent huge": (
        f"{ONE}/transitions",
        {"to_stage": "Staging", "expected_incumbent": 2**63},
        "expected_incumbent",
    ),
    "reason too long": (
        f"{ONE}/transitions",
        {"to_stage": "Staging", "reason": "r" * 20_001},
        "reason",
    ),
    "reason with surrogate": (
        f"/models/{MODEL}/rollback",
        {"reason": "\ud800"},
        "reason",
    ),
    "target a text": (f"/models/{MODEL}/rollback", {"to_version": "1"}, "to_version"),
    "target huge": (f"/models/{MODEL}/rollback", {"to_version": 2**31}, "to_version"),
    "no files": (f"{VERSIONS}/5/finalize", {"files": []}, "files"),
    "files no list": (f"{VERSIONS}/5/finalize", {"files": {}}, "files"),
    "file twice": (
        f"{VERSIONS}/5/finalize",
        {"files": declared({"a": b""})["files"] * 2},
        "files",
    ),
    "file that is also a directory": (
        f"{VERSIONS}/5/finalize",
        declared({"a": b"", "a/b": b""}),
        "files",
    ),
    "digest in upper case": (
        f"{VERSIONS}/5/finalize",
        {"files": [{"path": "a", "size_bytes": 0, "sha256": "A" * 64}]},
        "files",
    ),
    "size negative": (
        f"{VERSIONS}/5/uploads",
        {"path": "a", "size_bytes": -1},
        "size_bytes",
    ),
    "size huge": (
        f"{VERSIONS}/5/uploads",
        {"path": "a", "size_bytes": 2**53},
        "size_bytes",
    ),
    "no reason to abort but a number": (f"{VERSIONS}/5/abort", {"reason": 1}, "reason"),
    "role unknown": ("/tokens", {"name": "a", "role": "root"}, "role"),
    "days a text": (
        "/tokens",
        {"name": "a", "role": "viewer", "expires_in_days": "9"},
        "expires_in_days",
    ),
}


@pytest.mark.parametrize(("path", "body", "field"), INVALID.values(), ids=INVALID)
def test_invalid_body_is_refused_with_the_field_named_and_nothing_stored(
    api: Driver, path: str, body: object, *, field: str, directory: Path
) -> None:
    before, files = api.dump(), stored_files(directory)

    answer = api.client.post(f"/api/v1{path}", json=body)

    assert list(problem_of(answer, 422, "invalid")["errors"]) == [field]
    assert api.dump() == before
    assert stored_files(directory) == files


@pytest.mark.parametrize(
    ("method", "path", "body", "field"),
    [
        ("PATCH", f"/models/{MODEL}", {"name": "a/b"}, "name"),
        ("PATCH", f"/models/{MODEL}", {"stage": "Production"}, "stage"),
        ("PATCH", ONE, {"stage": "Production"}, "stage"),
        ("PATCH", ONE, {"status": "READY"}, "status"),
        ("PATCH", ONE, {"tags": {"a//b": ""}}, "tags"),
        ("PUT", f"/models/{MODEL}/aliases/a", {"version": 10**30}, "version"),
        ("PUT", f"/models/{MODEL}/aliases/a", {"version": -1}, "version"),
        ("PUT", f"/models/{MODEL}/aliases/a", {"version": True}, "version"),
        ("PUT", f"/models/{MODEL}/aliases/a", {"version": "1"}, "version"),
        ("PUT", f"/models/{MODEL}/aliases/a", {}, "version"),
    ],
)
def test_invalid_change_is_refused_and_nothing_stored(
    api: Driver, method: str, path: str, *, body: object, field: str
) -> None:
    before = api.dump()

    answer = api.client.open(f"/api/v1{path}", method=method, json=body)

    assert list(problem_of(answer, 422, "invalid")["errors"]) == [field]
    assert api.dump() == before


MALFORMED = {
    "broken": '{"name": "a"',
    "no JSON": "name=a",
    "key twice": '{"name": "a", "name": "b"}',
    "key twice inside": '{"name": "a", "tags": {"b": "1", "b": "2"}}',
    "NaN": '{"name": NaN}',
    "Infinity": '{"name": "a", "tags": {"b": -Infinity}}',
    "nested deeply": '{"name": ' + "[" * 100_000,
    "nested deeply and closed": "[" * 50_000 + "]" * 50_000,
    "a number of 5000 digits": '{"name": ' + "9" * 5000 + "}",
    "not UTF-8": b'{"name": "\xff"}',
    "a BOM of UTF-16": b"\xff\xfe",
    "two documents": '{"name": "a"} {"name": "b"}',
}


@pytest.mark.parametrize("body", MALFORMED.values(), ids=MALFORMED)
@pytest.mark.parametrize("path", ["/models", f"/models/{MODEL}/rollback"])
def test_malformed_body_is_refused_and_nothing_stored(
    api: Driver, path: str, body: str | bytes
) -> None:
    before = api.dump()

    answer = api.post(path, data=body, content_type="application/json")

    problem = problem_of(answer, 400, "malformed")
    assert problem["detail"].startswith("the body is not a JSON document")
    assert api.dump() == before


@pytest.mark.parametrize(
    "media_type", ["text/plain", "application/x-www-form-urlencoded", "", "text/json"]
)
def test_body_of_another_media_type_is_refused(api: Driver, media_type: str) -> None:
    before = api.dump()

    answer = api.post("/models", data='{"name": "a"}', content_type=media_type)

    problem_of(answer, 415, "unsupported-media-type")
    assert api.dump() == before


@pytest.mark.parametrize("media_type", ["application/json", "application/x+json"])
def test_body_of_a_json_type_is_read(api: Driver, media_type: str) -> None:
    name = media_type.replace("/", " ")
    body = f'{{"name": "{name}"}}'

    answer = api.post("/models", data=body, content_type=media_type)

    assert answer.status_code == 201


def test_body_over_a_mebibyte_is_refused(api: Driver) -> None:
    before = api.dump()

    for path in ("/models", VERSIONS, "/tokens", "/webhooks"):
        answer = api.post(path, {"name": "a" * MIB})
        problem_of(answer, 413, "too-large")

    assert api.dump() == before


QUERIES = [
    ("/models?limit=0", "limit"),
    ("/models?limit=201", "limit"),
    ("/models?limit=ten", "limit"),
    ("/models?limit=" + "9" * 5000, "limit"),
    ("/models?limt=10", "limt"),
    ("/models?cursor=", "cursor"),
    ("/models?cursor=***", "cursor"),
    ("/models?cursor=%00", "cursor"),
    ("/models?cursor=" + "A" * 9000, "cursor"),
    *(
        (f"{path}?cursor={cursor_of(text)}", "cursor")
        for path in (
            *("/models", VERSIONS, f"/models/{MODEL}/history", "/audit", "/tokens"),
            *("/webhooks", "/role-bindings", f"{ONE}/artifacts"),
        )
        for text in ("", "[1]", "null", "true", "1.5", "NaN", '"\\u0000"', "[" * 5000)
    ),
    *(
        (f"{path}?cursor={cursor_of(text)}", "cursor")
        for path in (VERSIONS, f"/models/{MODEL}/history", "/audit")
        for text in ('"a"', str(2**63), str(-(2**63)), "9" * 5000)
    ),
    *(
        (f"{path}?cursor={cursor_of(text)}", "cursor")
        for path in ("/models", "/tokens", "/webhooks", f"{ONE}/artifacts")
        for text in ("1", '"\\ud800"', '"u\\u0308"')
    ),
    (f"{VERSIONS}?stage=Limbo", "stage"),
    (f"/models/{MODEL}/stages/Production?at=now", "at"),
    ("/audit/verify?modle=a", "modle"),
    ("/audit?limit=-1", "limit"),
]


def test_bad_query_is_refused_with_the_argument_named(
    api: Driver, subtests: pytest.Subtests
) -> None:
    for path, field in QUERIES:
        with subtests.test(path[:80]):
            problem = problem_of(api.get(path), 422, "invalid")

            assert list(problem["errors"]) == [field]


@pytest.mark.parametrize(
    "path",
    [
        f"{VERSIONS}/0",
        f"{VERSIONS}/-1",
        f"{VERSIONS}/1.0",
        f"{VERSIONS}/one",
        f"{VERSIONS}/{2**31}",
        f"{VERSIONS}/{'9' * 5000}",
        "/models/" + "n" * 257,
        "/models/a%00b",
        "/models/a%0Ab",
        "/models/a%2Fb",
        "/models/%FF",
        "/models//versions",
        "/models/..%2f..",
        "/webhooks/%00",
        "/deliveries/%00",
    ],
)
def test_name_that_could_never_exist_is_not_found(api: Driver, path: str) -> None:
    problem_of(api.get(path), 404, "not-found")


def test_hostile_path_is_refused_in_a_body(
    api: Driver, directory: Path, subtests: pytest.Subtests
) -> None:
    before, files = api.dump(), stored_files(directory)

    for name, path in HOSTILE_PATHS.items():
        with subtests.test(name):
            file = {"path": path, "size_bytes": 0, "sha256": "0" * 64}

            asked = api.post(f"{VERSIONS}/5/uploads", {"path": path, "size_bytes": 0})
            finalized = api.post(f"{VERSIONS}/5/finalize", {"files": [file]})

            assert list(problem_of(asked, 422, "invalid")["errors"]) == ["path"]
            problem_of(finalized, 422, "invalid")
            assert api.dump() == before
            assert stored_files(directory) == files


@pytest.mark.parametrize("encoded", [True, False], ids=["encoded", "plain"])
def test_hostile_path_is_refused_in_a_url(
    api: Driver, directory: Path, subtests: pytest.Subtests, *, encoded: bool
) -> None:
    before, files = api.dump(), stored_files(directory)

    for name, path in HOSTILE_PATHS.items():
        with subtests.test(name):
            raw = path.encode("utf-8", "surrogatepass")
            safe = "" if encoded else "/\\:%.?#"
            url = f"{VERSIONS}/5/artifacts/{quote(raw, safe=safe)}"

            for answer in (api.put(url, data=b"evil"), api.get(url)):
                assert answer.status_code in {404, 405, 422}, answer.text
                kind = document_of(answer)["type"]
                assert kind.startswith("urn:stagegate:problem:")
            assert api.dump() == before
            assert stored_files(directory) == files
            assert not list(directory.rglob("passwd"))
