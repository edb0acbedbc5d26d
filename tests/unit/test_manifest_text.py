"""Reading a part of a stored manifest finds what reading all of it finds."""

import hashlib

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from registry.domain.manifest_text import ManifestText
from registry.domain.manifests import FileEntry, Manifest, check_artifact_path
from registry.errors import IntegrityViolationError, InvalidInputError

#: What a careless search would take for the beginning of a file.
DECOY = '{"path":"a","sha256":"'
HARD_PATHS = [DECOY, f"b/{DECOY}", '"},{"path":"', "ünï/ çode", "😀", "\uff21", "a.b"]


def make_manifest(paths: list[str]) -> Manifest:
    return Manifest(
        tuple(
            FileEntry(path, number, hashlib.sha256(path.encode()).hexdigest())
            for number, path in enumerate(paths)
        )
    )


def text_of(manifest: Manifest) -> ManifestText:
    return ManifestText(manifest.canonical, manifest.digest)


def is_accepted(path: str) -> bool:
    try:
        check_artifact_path(path)
    except InvalidInputError:
        return False
    return True


# Without a slash and in lower case, no path can be in another one's way.
paths = (
    st.text('ab{}":,pth .ü😀\uff41', min_size=1, max_size=12)
    .map(str.lower)
    .filter(is_accepted)
)


@given(
    st.lists(paths, min_size=1, max_size=30, unique_by=str.casefold),
    paths,
    st.integers(0, 40),
)
@example(["a"], "a", 1)
def test_a_part_is_what_the_whole_has_there(
    names: list[str], asked: str, limit: int
) -> None:
    manifest = make_manifest(names)
    text = text_of(manifest)

    assert text.files_behind(None, limit) == list(manifest.files[:limit])
    behind = [file for file in manifest.files if file.path > asked]
    assert text.files_behind(asked, limit) == behind[:limit]
    by_path = {file.path: file for file in manifest.files}
    assert text.find(asked) == by_path.get(asked)
    assert [text.find(name) for name in names] == [by_path[name] for name in names]


@given(
    st.lists(
        st.lists(st.text("a-0", min_size=1, max_size=2), min_size=1, max_size=3).map(
            "/".join
        ),
        min_size=1,
        max_size=20,
        unique=True,
    )
)
@example(["a-b", "a/b", "a/c/d", "a/c/e", "a0", "b"])
def test_directory_has_its_files_and_directories_once(names: list[str]) -> None:
    try:
        manifest = make_manifest(names)
    except InvalidInputError:
        assume(False)  # noqa: FBT003  # Hypothesis has it so
    directories = {
        "/".join(name.split("/")[:depth]) for name in names for depth in (1, 2)
    }
    sizes = {file.path: file.size_bytes for file in manifest.files}

    for directory in {"", *directories} - set(names):
        found = list(text_of(manifest).children(directory))

        prefix = f"{directory}/" if directory else ""
        below = [name.removeprefix(prefix) for name in names if name.startswith(prefix)]
        assert dict(found) == {
            name.split("/")[0]: None if "/" in name else sizes[prefix + name]
            for name in below
        }
        assert len(dict(found)) == len(found)


def test_nothing_lies_in_a_file_or_in_what_is_not_there() -> None:
    text = text_of(make_manifest(["model/weights.bin"]))

    for directory in ("model/weights.bin", "mod", "model/w", "z"):
        assert list(text.children(directory)) == []


def test_paths_that_look_like_json_are_no_files() -> None:
    manifest = make_manifest(HARD_PATHS)
    text = text_of(manifest)

    assert text.files_behind(None, 100) == list(manifest.files)
    assert [text.find(path) is not None for path in HARD_PATHS] == [True] * 7
    assert text.find("a") is None


def test_pages_put_together_are_the_whole() -> None:
    manifest = make_manifest([f"part-{number:04}" for number in range(1_000)])
    text = text_of(manifest)

    found: list[FileEntry] = []
    while page := text.files_behind(found[-1].path if found else None, 7):
        found += page

    assert found == list(manifest.files)


def test_a_manifest_that_was_changed_is_not_read() -> None:
    manifest = make_manifest(["model.bin"])
    changed = manifest.canonical.replace('"size":0', '"size":1')

    with pytest.raises(IntegrityViolationError, match="its version has sha256:"):
        ManifestText(changed, manifest.digest)
