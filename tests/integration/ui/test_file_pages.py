"""The files of a version: listed, shown where they are texts, handed out elsewhere."""

import pytest

from registry.web.checked_files import MAX_TEXT_BYTES
from tests.integration.api.driver import MODEL, ON_BOTH_DATABASES, Driver
from tests.integration.ui.reading import read, said
from tests.integration.ui.test_version_pages import files_of

FILES = f"/models/{MODEL}/versions/1/files"


def uploaded(api: Driver, files: dict[str, bytes]) -> None:
    api.create_model()
    api.register()
    api.upload(1, files)


@ON_BOTH_DATABASES
def test_files_are_listed_page_by_page(api: Driver) -> None:
    uploaded(api, {f"part-{place:03}": b"x" for place in range(150)})

    first = read(api, FILES)
    assert first.count(">Download</a>") == 100
    assert f'href="{FILES}/part-000"' in first
    (following,) = [
        line.split('href="')[1].split('"')[0]
        for line in first.splitlines()
        if 'rel="next"' in line
    ]
    last = read(api, following.replace("&amp;", "&"))

    assert last.count(">Download</a>") == 50
    assert f'href="{FILES}/part-149"' in last
    assert 'rel="next"' not in last


def test_text_is_shown_as_it_is(api: Driver) -> None:
    uploaded(api, {"conf/a b.yaml": "x: <script>é</script>\n".encode()})

    page = read(api, f"{FILES}/conf/a%20b.yaml")

    assert "<code>x: &lt;script&gt;é&lt;/script&gt;\n</code>" in page
    assert f'href="/api/v1/models/{MODEL}/versions/1/artifacts/conf/a%20b.yaml"' in page


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"\xff\xfe\x00", "It is no text"),
        (b"text with \0 in it", "It is no text"),
        (b"x" * (MAX_TEXT_BYTES + 1), "It is larger than 512.0 KiB"),
    ],
)
def test_what_is_no_text_is_offered_for_download_alone(
    api: Driver, content: bytes, why: str
) -> None:
    uploaded(api, {"model.bin": content})

    page = read(api, f"{FILES}/model.bin")

    assert why in said(page)
    assert "<pre class=" not in page
    assert ">Download</a>" in page


def test_empty_file_is_said_to_be_empty(api: Driver) -> None:
    uploaded(api, {"empty.txt": b""})

    assert "The file is empty." in said(read(api, f"{FILES}/empty.txt"))


def test_file_that_is_another_than_was_registered_is_not_shown(api: Driver) -> None:
    uploaded(api, {"notes.md": b"mine"})
    file = files_of(api, 1) / "notes.md"
    file.chmod(0o600)
    file.write_bytes(b"evil")

    page = read(api, f"{FILES}/notes.md", 409)

    assert "is not what was registered" in said(page)
    assert "evil" not in page
    assert not api.version(1)["verified"]


@pytest.mark.parametrize("path", ["absent", "%2e%2e/%2e%2e/etc/passwd", "a//b"])
def test_path_of_no_file_is_told_so(api: Driver, path: str) -> None:
    uploaded(api, {"model.bin": b"x"})

    answer = api.client.get(f"{FILES}/{path}")

    assert answer.status_code in {404, 422}
    assert answer.mimetype == "text/html"


def test_artifact_that_lies_elsewhere_has_no_files_here(api: Driver) -> None:
    api.create_model()
    api.register(source="s3://elsewhere/churn")

    assert "No files are known" in said(read(api, FILES))
