"""A part of a stored manifest is what the whole has there, and is found by its key."""

import hashlib
import itertools
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from flask import Flask
from hypothesis import HealthCheck, assume, example, given, settings
from hypothesis import strategies as st
from sqlalchemy import Connection, Engine, insert, text

from registry.domain.manifests import FileEntry, Manifest, check_artifact_path
from registry.domain.rows import ManifestRow
from registry.errors import (
    ArtifactNotFoundError,
    IntegrityViolationError,
    InvalidInputError,
    VersionNotFoundError,
)
from registry.persistence import manifests
from registry.persistence.apply import add
from registry.persistence.queries import get_version
from registry.persistence.tables import ModelVersion
from tests.integration.api.driver import MODEL, ON_BOTH_DATABASES, Driver
from tests.integration.conftest import signed_in
from tests.integration.crowds import version_row
from tests.integration.mlflow_api.test_latest_plan import plans_of

HARD_PATHS = [
    *(
        '{"path":"a","sha256":"',
        '"},{"path":"',
        'b/{"path":"a"',
        "'; --",
        "a.b",
        "5%25",
    ),
    *("u\u0308n\xef/ çode", "\xfcn\xef/çode", "😀", "\uff21", "\uffff", "\U0010ffff/x"),
    *("{}", "100 %s %(id)s :id ?", "a b/c d", "Data/x", "data/x", "data/X", "data0"),
]
pytestmark = ON_BOTH_DATABASES
each_example = settings(
    deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
numbers = itertools.count(2)
LARGE = 1_000_000


def make_manifest(paths: list[str]) -> Manifest:
    return Manifest(
        tuple(
            FileEntry(path, number, hashlib.sha256(path.encode()).hexdigest())
            for number, path in enumerate(paths)
        )
    )


@pytest.fixture
def engine(app: Flask) -> Engine:
    """A registry with a model whose version 1 has no manifest."""
    api = Driver(app, signed_in(app))
    api.create_model()
    api.register()
    return api.engine


@contextmanager
def version_of(
    engine: Engine, manifest: Manifest, number: int | None = None
) -> Iterator[tuple[Connection, int]]:
    """A version that has it, for as long as it is asked about."""
    number = number or next(numbers)
    with engine.connect() as cx:
        model_id = cx.execute(text("SELECT id FROM registered_models")).scalar_one()
        row = version_row(model_id, number, "None")
        row |= {"id": f"v{number}", "artifact_digest": manifest.digest}
        cx.execute(insert(ModelVersion), [row])
        added = ManifestRow(version_id=f"v{number}", canonical=manifest.canonical)
        add(cx, added)
        yield cx, number


def is_accepted(path: str) -> bool:
    try:
        check_artifact_path(path)
    except InvalidInputError:
        return False
    return True


# Without a slash, no path can be in another one's way.
paths = st.text('abA{}":,pth .ü😀\uff41%\\', min_size=1, max_size=12).filter(
    is_accepted
)


@each_example
@given(
    names=st.lists(paths, min_size=1, max_size=30, unique=True),
    asked=paths,
    limit=st.integers(1, 40),
)
@example(names=HARD_PATHS, asked="a", limit=100)
def test_a_part_is_what_the_whole_has_there(
    engine: Engine, names: list[str], asked: str, limit: int
) -> None:
    manifest = make_manifest(names)
    by_path = {file.path: file for file in manifest.files}
    with version_of(engine, manifest) as (cx, number):

        def files(after: str | None) -> list[FileEntry]:
            return manifests.files_behind(cx, MODEL, number, after=after, limit=limit)

        def found(path: str) -> FileEntry | None:
            return manifests.find_file(cx, MODEL, number, path)[1]

        version = get_version(cx, MODEL, number)
        assert manifests.manifest_of(cx, version) == manifest
        assert files(None) == list(manifest.files[:limit])
        behind = [file for file in manifest.files if file.path > asked]
        assert files(asked) == behind[:limit]
        assert found(asked) == by_path.get(asked)
        assert [found(name) for name in names] == [by_path[name] for name in names]
        by_id = [manifests.find_file_by_id(cx, version.id, p)[1] for p in names]
        assert by_id == [by_path[name] for name in names]


@each_example
@given(
    names=st.lists(
        st.lists(st.text("a-0 😀", min_size=1, max_size=2), min_size=1, max_size=3).map(
            "/".join
        ),
        min_size=1,
        max_size=20,
        unique=True,
    )
)
@example(names=["a-b", "a/b", "a/c/d", "a/c/e", "a0", "a ", "a", "b"][:6])
@example(names=HARD_PATHS)
def test_directory_has_its_files_and_directories_once(
    engine: Engine, names: list[str]
) -> None:
    try:
        manifest = make_manifest(names)
    except InvalidInputError:
        assume(False)  # noqa: FBT003  # Hypothesis has it so
    directories = {
        "/".join(name.split("/")[:depth]) for name in names for depth in (1, 2)
    }
    sizes = {file.path: file.size_bytes for file in manifest.files}
    with version_of(engine, manifest) as (cx, number):
        for directory in {"", *directories} - set(names):
            found = manifests.children(cx, f"v{number}", directory)

            prefix = f"{directory}/" if directory else ""
            below = [n.removeprefix(prefix) for n in names if n.startswith(prefix)]
            assert found is not None
            assert dict(found) == {
                name.split("/")[0]: None if "/" in name else sizes[prefix + name]
                for name in below
            }
            assert len(dict(found)) == len(found)
        for file in names:
            assert manifests.children(cx, f"v{number}", file) == []


def test_nothing_lies_in_what_is_not_there(engine: Engine) -> None:
    manifest = make_manifest(["model/weights.bin"])
    with version_of(engine, manifest) as (cx, number):
        for directory in ("mod", "model/w", "z", "model/weights.bin/x"):
            assert manifests.children(cx, f"v{number}", directory) is None


def test_pages_put_together_are_the_whole(engine: Engine) -> None:
    manifest = make_manifest([f"part-{number:04}" for number in range(1_000)])
    found: list[FileEntry] = []
    with version_of(engine, manifest) as (cx, number):
        after = None
        while page := manifests.files_behind(cx, MODEL, number, after=after, limit=7):
            found += page
            after = page[-1].path

    assert found == list(manifest.files)


def test_version_that_is_not_there_or_has_no_manifest_is_told_so(
    engine: Engine,
) -> None:
    with engine.connect() as cx:
        one = get_version(cx, MODEL, 1)

        assert manifests.files_behind(cx, MODEL, 1, after=None, limit=5) == []
        assert manifests.find_file(cx, MODEL, 1, "a") == (one, None)
        for unknown in (one.id, "no-such-id"):
            with pytest.raises(ArtifactNotFoundError):
                manifests.find_file_by_id(cx, unknown, "a")
            with pytest.raises(ArtifactNotFoundError):
                manifests.children(cx, unknown, "")
        with pytest.raises(VersionNotFoundError):
            manifests.files_behind(cx, MODEL, 9, after=None, limit=5)
        with pytest.raises(VersionNotFoundError):
            manifests.find_file(cx, MODEL, 9, "a")


@pytest.mark.parametrize(
    "change",
    [
        "DELETE FROM manifest_files",
        "DELETE FROM manifest_files WHERE path = 'a'",
        *(
            f"UPDATE manifest_files SET {column} = {value} WHERE path = 'a'"  # noqa: S608  # constants
            for column, value in (
                ("path", "'../a'"),
                ("path", "'c'"),
                ("size_bytes", -1),
                ("size_bytes", 7),
                ("sha256", "'7'"),
                ("sha256", f"'{'0' * 64}'"),
            )
        ),
    ],
)
def test_all_of_a_manifest_that_was_changed_is_not_read(
    engine: Engine, change: str
) -> None:
    with version_of(engine, make_manifest(["a", "b"])) as (cx, number):
        cx.execute(text(change))
        version = get_version(cx, MODEL, number)

        with pytest.raises(IntegrityViolationError, match="stored manifest"):
            manifests.manifest_of(cx, version)


@pytest.mark.parametrize(
    "ask",
    [
        lambda cx: manifests.files_behind(
            cx, MODEL, LARGE, after="data/part-0100", limit=50
        ),
        lambda cx: manifests.find_file(cx, MODEL, LARGE, "data/part-0100"),
        lambda cx: manifests.find_file_by_id(cx, f"v{LARGE}", "data/part-0100"),
        lambda cx: manifests.children(cx, f"v{LARGE}", "data"),
    ],
    ids=["page", "file", "file by id", "directory"],
)
def test_a_part_is_found_by_the_key(
    engine: Engine, ask: Callable[[Connection], object]
) -> None:
    manifest = make_manifest([f"data/part-{number:05}" for number in range(3_000)])
    with version_of(engine, manifest, LARGE) as (cx, _):
        cx.commit()
        cx.execute(text("ANALYZE"))
        cx.commit()

    (plan,) = plans_of(engine, ask)

    steps = [step for step in plan.splitlines() if "version_id" in step]
    of_files = [step for step in steps if "path" in step]
    assert of_files, plan
    assert "SCAN manifest_files" not in plan
    assert "Seq Scan on manifest_files" not in plan


def test_paths_are_sorted_by_code_points_whatever_else_is_not(engine: Engine) -> None:
    """The databases of these tests sort by them anyway."""
    with engine.connect() as connection:
        if engine.dialect.name == "sqlite":
            table = text("SELECT sql FROM sqlite_master WHERE name = 'manifest_files'")
            assert "COLLATE" not in connection.scalar(table)
            return
        collations = text(
            "SELECT collation_name FROM information_schema.columns"
            " WHERE (table_name, column_name) = ('manifest_files', 'path')"
        )
        assert connection.scalar(collations) == "C"
