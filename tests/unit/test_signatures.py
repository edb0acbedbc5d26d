"""Signatures, as MLflow 3.17 writes them, and as they are remembered."""

import pytest

from registry.domain.signatures import Column, columns
from registry.errors import ArtifactNotFoundError, ArtifactStoreError, RegistryError
from registry.web.signatures import Signatures

WRITTEN = r"""artifact_path: m
flavors: {}
signature:
  inputs: '[{"type": "double", "name": "sepal length (cm)", "required": true}, {"type":
    "string", "name": "it''s na\u00efve ''quoted''", "required": false}, {"type":
    "array", "items": {"type": "string"}, "name": "words", "required": true}, {"type":
    "object", "properties": {"a": {"type": "string", "required": true}}, "name": "obj",
    "required": true}, {"type": "long", "name": "column
    number 3", "required": true}]'
  outputs: '[{"type": "tensor", "tensor-spec": {"dtype": "float32", "shape": [-1, 3]}}]'
  params: '[{"name": "temperature", "default": 0.5, "shape": null, "type": "double"}]'
type_hint_from_example: false
"""


def test_what_mlflow_writes_is_read() -> None:
    assert columns(WRITTEN) == [
        Column("inputs", "sepal length (cm)", "double"),
        Column("inputs", "it's naïve 'quoted'", "string, optional"),
        Column("inputs", "words", "array of string"),
        Column("inputs", "obj", "object {a: string}"),
        Column("inputs", "column number 3", "long"),
        Column("outputs", "(unnamed)", "float32 [-1, 3]"),
        Column("params", "temperature", "double, default 0.5"),
    ]


def test_part_that_is_null_has_no_columns() -> None:
    text = 'signature:\n  inputs: \'[{"type": "long"}]\'\n  outputs: null\n'

    assert columns(text) == [Column("inputs", "(unnamed)", "long")]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "flavors: {}\nrun_id: abc\n",
        "signature: null\n",
        "signature:\n  inputs: '[{'\n",
        "signature:\n  inputs: '{\"a\": 1}'\n",
        "signature:\n  inputs: '[1, null]'\n",
        "signature:\n  inputs: '" + "[" * 100_000 + "'\n",
        "signature:\n  inputs: '[" + '{"items":' * 5000 + "1" + "}" * 5000 + "]'\n",
        "signature:\n  inputs: 'never closed",
        'notes:\n  inputs: \'[{"type": "long"}]\'\n',
    ],
)
def test_what_is_no_signature_says_nothing(text: str) -> None:
    assert columns(text) == []


class File:
    """A file that tells how often it was read."""

    def __init__(self, outcome: str | RegistryError | None) -> None:
        self.outcome = outcome
        self.reads = 0

    def read(self) -> str | None:
        self.reads += 1
        if isinstance(self.outcome, RegistryError):
            raise self.outcome
        return self.outcome


@pytest.mark.parametrize("text", [WRITTEN, "no signature", None])
def test_file_is_read_once(text: str | None) -> None:
    signatures, file = Signatures(), File(text)

    found = [signatures.of("a", file.read) for _ in range(2)]

    assert found == [columns(text or "")] * 2
    assert file.reads == 1


def test_file_that_cannot_be_read_now_is_tried_again() -> None:
    signatures, file = Signatures(), File(ArtifactNotFoundError())
    assert signatures.of("a", file.read) == ()

    file.outcome = WRITTEN

    assert signatures.of("a", file.read) == columns(WRITTEN)


def test_store_that_is_away_is_left_alone_for_a_while() -> None:
    signatures, known, away = Signatures(), File(WRITTEN), File(ArtifactStoreError())
    signatures.of("known", known.read)

    assert signatures.of("a", away.read) == ()
    assert signatures.of("b", away.read) == ()

    assert away.reads == 1
    assert signatures.of("known", known.read) == columns(WRITTEN)


def test_property_that_is_no_object_is_shown_as_it_stands() -> None:
    text = 'signature:\n  inputs: \'[{"type": "object", "properties": {"a": "b"}}]\'\n'

    assert columns(text) == [Column("inputs", "(unnamed)", "object {a: b}")]
