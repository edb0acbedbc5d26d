"""The fields of a request: from where, under which names, of which types."""

from collections.abc import Callable

import pytest
from flask import Flask, request

from registry.errors import InvalidInputError
from registry.mlflow_api.reading import Fields, fields_of
from registry.web.strict_json import StrictJSONProvider

Read = Callable[[Fields], object]


@pytest.fixture
def app() -> Flask:
    app = Flask("reading", static_folder=None)
    app.json = StrictJSONProvider(app)
    return app


def query(app: Flask, text: str, read: Read) -> object:
    with app.test_request_context(f"/?{text}"):
        return read(fields_of(request))


def body(
    app: Flask,
    text: str,
    read: Read,
    *,
    method: str = "POST",
    content_type: str | None = "application/json",
) -> object:
    with app.test_request_context(
        "/", method=method, data=text, content_type=content_type
    ):
        return read(fields_of(request))


def refused(read: Callable[[], object]) -> str:
    with pytest.raises(InvalidInputError) as caught:
        read()
    return caught.value.message


def test_get_reads_its_query(app: Flask) -> None:
    assert query(app, "name=a%20b&x=1", lambda f: f.required("name")) == "a b"


def test_get_without_a_query_may_have_a_body(app: Flask) -> None:
    found = body(app, '{"name": "a"}', lambda f: f.text("name"), method="GET")

    assert found == "a"


@pytest.mark.parametrize("method", ["POST", "PATCH", "PUT", "DELETE"])
def test_other_methods_read_their_body_and_never_the_query(
    app: Flask, method: str
) -> None:
    with app.test_request_context("/?name=q", method=method, json={"name": "b"}):
        assert fields_of(request).text("name") == "b"
    with app.test_request_context("/?name=q", method=method):
        assert fields_of(request).optional("name") is None


def test_repeated_field_of_a_query_is_a_list_however_often_it_stands(
    app: Flask,
) -> None:
    assert query(app, "stages=a&stages=b", lambda f: f.texts("stages")) == ["a", "b"]
    assert query(app, "stages=a", lambda f: f.texts("stages")) == ["a"]
    assert query(app, "x=a", lambda f: f.texts("stages")) == []


def test_single_field_that_stands_twice_in_a_query_is_refused(app: Flask) -> None:
    message = refused(lambda: query(app, "name=a&name=b", lambda f: f.text("name")))

    assert message == "name stands more than once in the query"


@pytest.mark.parametrize("text", ['{"run_id": "r"}', '{"runId": "r"}'])
def test_field_is_known_in_both_spellings(app: Flask, text: str) -> None:
    assert body(app, text, lambda f: f.text("run_id")) == "r"


def test_both_spellings_at_once_are_refused(app: Flask) -> None:
    sent = '{"run_id": "r", "runId": "r"}'

    message = refused(lambda: body(app, sent, lambda f: f.text("run_id")))

    assert message == "run_id and runId are the same field; send one"


def test_null_is_the_same_as_absent(app: Flask) -> None:
    for text in ('{"a": null, "b": null}', "{}"):
        assert body(app, text, lambda f: f.text("a")) == ""
        assert body(app, text, lambda f: f.optional("a")) is None
        assert body(app, text, lambda f: f.texts("b")) == []
        assert body(app, text, lambda f: f.flag("a")) is False
        assert body(app, text, lambda f: f.whole_number("a")) is None
        assert body(app, text, lambda f: f.tags("a")) == {}
        assert body(app, text, lambda f: f.document("a")) is None


@pytest.mark.parametrize("text", ["{}", '{"name": ""}', '{"name": "  "}'])
def test_required_field_that_is_missing_empty_or_blank_is_named(
    app: Flask, text: str
) -> None:
    message = refused(lambda: body(app, text, lambda f: f.required("name")))

    assert message.startswith("Missing value for required parameter 'name'. See the")


@pytest.mark.parametrize("value", ["5", "true", '["a"]', '{"a": 1}'])
def test_value_that_is_no_text_is_refused(app: Flask, value: str) -> None:
    sent = f'{{"name": {value}}}'

    message = refused(lambda: body(app, sent, lambda f: f.required("name")))

    assert "for parameter 'name' supplied" in message


def test_text_comes_in_the_form_that_is_stored(app: Flask) -> None:
    assert query(app, "name=e%CC%81", lambda f: f.text("name")) == "é"
    assert "NUL" in refused(lambda: query(app, "name=%00", lambda f: f.text("name")))


@pytest.mark.parametrize("value", ['"a"', "{}", "[1]", '[["a"]]'])
def test_list_of_texts_of_another_shape_is_refused(app: Flask, value: str) -> None:
    sent = f'{{"stages": {value}}}'

    message = refused(lambda: body(app, sent, lambda f: f.texts("stages")))

    assert "'stages'" in message


def test_flag_is_a_json_boolean_and_in_a_query_its_name(app: Flask) -> None:
    assert body(app, '{"a": true}', lambda f: f.flag("a")) is True
    assert body(app, '{"a": false}', lambda f: f.flag("a")) is False
    assert query(app, "a=true", lambda f: f.flag("a")) is True
    assert query(app, "a=false", lambda f: f.flag("a")) is False
    assert "'a'" in refused(lambda: query(app, "a=yes", lambda f: f.flag("a")))
    assert "'a'" in refused(lambda: body(app, '{"a": "true"}', lambda f: f.flag("a")))
    assert "'a'" in refused(lambda: body(app, '{"a": 1}', lambda f: f.flag("a")))


def test_whole_number_may_be_text(app: Flask) -> None:
    assert body(app, '{"a": 5}', lambda f: f.whole_number("a")) == 5
    assert body(app, '{"a": "-5"}', lambda f: f.whole_number("a")) == -5
    assert query(app, "a=5", lambda f: f.whole_number("a")) == 5


@pytest.mark.parametrize("value", ["1.5", '"x"', "true", "[1]", f'"{"9" * 30}"'])
def test_value_that_is_no_whole_number_is_refused(app: Flask, value: str) -> None:
    sent = f'{{"a": {value}}}'

    message = refused(lambda: body(app, sent, lambda f: f.whole_number("a")))

    assert "'a'" in message


def test_of_a_repeated_tag_key_the_last_value_counts(app: Flask) -> None:
    sent = '{"tags": [{"key": "a", "value": "1"}, {"key": "a"}, {"key": "b"}]}'

    assert body(app, sent, lambda f: f.tags()) == {"a": "", "b": ""}


@pytest.mark.parametrize(
    "value", ['{"a": "b"}', '["a"]', '[{"value": "x"}]', '[{"key": "a", "value": 1}]']
)
def test_tags_of_another_shape_are_refused(app: Flask, value: str) -> None:
    sent = f'{{"tags": {value}}}'

    assert refused(lambda: body(app, sent, lambda f: f.tags()))


def test_object_inside_is_read_by_the_same_rules(app: Flask) -> None:
    sent = '{"spec": {"baseUrl": "u"}, "events": [{"a": "b"}]}'

    def read(fields: Fields) -> tuple[str, list[str]]:
        spec = fields.document("spec")
        assert spec is not None
        return spec.text("base_url"), [e.text("a") for e in fields.documents("events")]

    assert body(app, sent, read) == ("u", ["b"])
    for value in ("5", '"a"', "[]"):
        sent = f'{{"spec": {value}}}'
        assert "'spec'" in refused(
            lambda sent=sent: body(app, sent, lambda f: f.document("spec"))  # type: ignore[misc]  # mypy does not infer a default's type
        )


@pytest.mark.parametrize("content_type", ["text/plain", None, "application/xml"])
def test_body_of_another_type_is_refused(app: Flask, content_type: str | None) -> None:
    message = refused(
        lambda: body(app, "{}", lambda f: f.text("a"), content_type=content_type)
    )

    assert "Content-Type must be one of ['application/json']" in message


def test_type_may_have_parameters(app: Flask) -> None:
    content_type = "application/json; charset=utf-8"

    found = body(app, '{"a": "b"}', lambda f: f.text("a"), content_type=content_type)

    assert found == "b"


@pytest.mark.parametrize(
    "text", ["{", "nothing", '{"a": NaN}', '{"a": 1, "a": 2}', "[" * 100_000]
)
def test_body_that_is_no_json_document_is_refused(app: Flask, text: str) -> None:
    message = refused(lambda: body(app, text, lambda f: f.text("a")))

    assert message.startswith("Bad Request. The body is not a JSON document")


@pytest.mark.parametrize("text", ["[]", '"a"', "5", "null"])
def test_body_that_is_no_object_is_refused(app: Flask, text: str) -> None:
    message = refused(lambda: body(app, text, lambda f: f.text("a")))

    assert message == "Bad Request. The body is not a JSON object."
