"""What a manifest says, and which paths it never accepts."""

import hashlib
import posixpath
import re
from pathlib import Path, PurePosixPath
from urllib.parse import quote, unquote

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from registry.domain.manifests import (
    MAX_SIZE_BYTES,
    FileEntry,
    Manifest,
    check_artifact_path,
)
from registry.errors import IntegrityViolationError, InvalidInputError
from tests.hostile_paths import ACCEPTED_PATHS, HOSTILE_PATHS

EMPTY_SHA256 = hashlib.sha256(b"").hexdigest()


def make_entry(
    path: str = "model.bin", size_bytes: int = 0, sha256: str = EMPTY_SHA256
) -> FileEntry:
    return FileEntry(path, size_bytes, sha256)


def make_manifest(*paths: str) -> Manifest:
    return Manifest(tuple(make_entry(path) for path in paths))


@pytest.mark.parametrize("path", HOSTILE_PATHS.values(), ids=HOSTILE_PATHS.keys())
def test_hostile_path_is_refused_with_the_field_named(path: str) -> None:
    with pytest.raises(InvalidInputError, match="The artifact path") as caught:
        check_artifact_path(path)

    assert caught.value.field == "path"
    assert caught.value.message.isascii() or "…" in caught.value.message


@pytest.mark.parametrize("path", ACCEPTED_PATHS)
def test_ordinary_path_is_returned_unchanged(path: str) -> None:
    assert check_artifact_path(path) == path


HOSTILE_PIECES = st.sampled_from(
    [
        "..",
        ".",
        "/",
        "\\",
        "%2e",
        "%2F",
        "%5c",
        "%25",
        "%00",
        "C:",
        "a",
        "\x00",
        "\u2025",
    ]
)
PATH_TEXTS = st.lists(HOSTILE_PIECES | st.text(max_size=4), max_size=8).map("".join)


@given(text=PATH_TEXTS)
@example(text="a/b")
@example(text="%252e%252e/a")
def test_any_accepted_path_stays_below_the_root_however_often_it_is_decoded(
    text: str,
) -> None:
    try:
        path = check_artifact_path(text)
    except InvalidInputError:
        return

    for _ in range(5):
        # Where a backslash separates, or NUL is the end, is for others to decide.
        for read in (path, path.replace("\\", "/"), path.partition("\0")[0]):
            joined = posixpath.normpath(PurePosixPath("/root/directory") / read)
            assert f"{joined}/".startswith("/root/directory/")
        path = unquote(path)


@given(text=PATH_TEXTS)
def test_a_path_and_its_encodings_are_refused_alike(text: str) -> None:
    try:
        check_artifact_path(text)
    except InvalidInputError:
        return
    encoded = quote(text, safe="/")
    if len(encoded) <= 1024:
        assert check_artifact_path(encoded) == encoded


def test_files_are_sorted_whatever_order_they_came_in() -> None:
    manifest = make_manifest("b", "a/z", "a-b", "a/c")

    assert [entry.path for entry in manifest.files] == ["a-b", "a/c", "a/z", "b"]


def test_canonical_form_is_pinned_to_the_byte() -> None:
    manifest = Manifest(
        (make_entry("weights/ü.bin", 7), make_entry("MLmodel", 2**53 - 1))
    )

    assert manifest.canonical == (
        '{"files":['
        f'{{"path":"MLmodel","sha256":"{EMPTY_SHA256}","size":9007199254740991}},'
        f'{{"path":"weights/ü.bin","sha256":"{EMPTY_SHA256}","size":7}}'
        '],"v":1}'
    )
    digest = hashlib.sha256(manifest.canonical.encode()).hexdigest()
    assert manifest.digest == f"sha256:{digest}"
    assert manifest.size_bytes == 2**53 + 6


def test_canonical_form_reads_back_to_the_same_manifest() -> None:
    manifest = make_manifest("b", "a")

    assert Manifest.from_canonical(manifest.canonical) == manifest


STORED = (("a", 0, EMPTY_SHA256), ("b", 0, EMPTY_SHA256))


def test_stored_files_are_the_manifest_that_was_digested() -> None:
    manifest = make_manifest("b", "a")

    assert Manifest.stored(reversed(STORED), manifest.digest) == manifest


@pytest.mark.parametrize(
    "rows",
    [
        (),
        STORED[:1],
        (*STORED, ("c", 0, EMPTY_SHA256)),
        (("../a", 0, EMPTY_SHA256), STORED[1]),
        (("c", 0, EMPTY_SHA256), STORED[1]),
        (("a", 7, EMPTY_SHA256), STORED[1]),
        (("a", -1, EMPTY_SHA256), STORED[1]),
        (("a", 0, "7"), STORED[1]),
        (("a", 0, "0" * 64), STORED[1]),
    ],
)
def test_stored_files_that_were_not_digested_are_an_integrity_violation(
    rows: tuple[tuple[str, int, str], ...],
) -> None:
    with pytest.raises(IntegrityViolationError, match="stored manifest"):
        Manifest.stored(rows, make_manifest("a", "b").digest)


@pytest.mark.parametrize(
    ("entry", "field"),
    [
        (("../a", 0, EMPTY_SHA256), "path"),
        (("a", -1, EMPTY_SHA256), "size_bytes"),
        (("a", MAX_SIZE_BYTES + 1, EMPTY_SHA256), "size_bytes"),
        (("a", 0, EMPTY_SHA256.upper()), "sha256"),
        (("a", 0, EMPTY_SHA256[:-1]), "sha256"),
        (("a", 0, EMPTY_SHA256 + "\n"), "sha256"),
    ],
)
def test_entry_refuses_a_value_that_breaks_a_rule(
    entry: tuple[str, int, str], field: str
) -> None:
    with pytest.raises(InvalidInputError) as caught:
        FileEntry(*entry)

    assert caught.value.field == field


@pytest.mark.parametrize(
    ("paths", "message"),
    [
        ([], "at least one file"),
        (["a", "b", "a"], "'a' is there twice"),
        (["a", "a/b"], "is a file and also the directory"),
        (["a", "a-b", "a/b/c"], "is a file and also the directory"),
    ],
)
def test_files_that_cannot_lie_side_by_side_are_refused(
    paths: list[str], message: str
) -> None:
    with pytest.raises(InvalidInputError, match=message) as caught:
        make_manifest(*paths)

    assert caught.value.field == "files"


@pytest.mark.parametrize(
    "paths",
    [
        ["A/x", "a/y"],
        ["a/MODEL.bin", "a/model.BIN"],
        ["straße", "STRASSE"],
        ["A", "a/b/c"],
        ["u\u0308", "ü"],
    ],
)
def test_names_that_differ_only_in_case_or_form_are_kept_as_they_are(
    paths: list[str],
) -> None:
    manifest = make_manifest(*paths)

    assert [file.path for file in manifest.files] == sorted(paths)
    assert Manifest.from_canonical(manifest.canonical) == manifest


def test_equal_manifests_have_no_differences() -> None:
    assert make_manifest("a", "b").differences(make_manifest("b", "a")) == []


def test_each_difference_is_a_sentence_in_the_order_of_the_paths() -> None:
    other_sha256 = hashlib.sha256(b"other").hexdigest()
    expected = Manifest(
        (make_entry("same"), make_entry("gone"), make_entry("size"), make_entry("hash"))
    )
    found = Manifest(
        (
            make_entry("same"),
            make_entry("added"),
            make_entry("size", 3, other_sha256),
            make_entry("hash", 0, other_sha256),
        )
    )

    assert expected.differences(found) == [
        "added is not in the manifest.",
        "gone is missing.",
        f"hash has sha256 {other_sha256}, the manifest says {EMPTY_SHA256}.",
        "size has 3 bytes, the manifest says 0.",
    ]


def test_manifest_module_does_no_input_or_output() -> None:
    source = Path(check_artifact_path.__code__.co_filename).read_text(encoding="utf-8")

    imports = re.findall(r"^(?:import|from) (\S+)", source, re.MULTILINE)

    assert not {"os", "pathlib", "io", "socket", "minio", "requests"} & set(imports)
