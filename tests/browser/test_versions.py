"""People look at a version, and say something of it."""

import re
from pathlib import Path
from urllib.parse import unquote, urlsplit

from tests.browser.chromium import NARROW, Visitor
from tests.browser.conftest import Site, Visit
from tests.browser.world import SIGNATURE
from tests.waiting import wait_for


def registered(site: Site, artifact: Path, model: str, count: int = 1) -> str:
    """Versions of a model; returns the path of the first."""
    site.client.ensure_model(model)
    (artifact / "MLmodel").write_text(f"flavors: {{}}{SIGNATURE}")
    for number in range(1, count + 1):
        (artifact / "notes.md").write_text(
            f"# Run {number} <script>alert(1)</script>\n"
        )
        site.client.register(
            model, artifact, metrics={"auc": 0.8 + number / 100}, params={"seed": "7"}
        )
    return f"/models/{model}/versions/1"


def opened(visitor: Visitor, summary: str) -> None:
    visitor.page.get_by_text(summary, exact=True).click()


def test_somebody_describes_tags_and_names_a_version(
    site: Site, visit: Visit, artifact: Path
) -> None:
    visitor = visit("writer")
    page = visitor.go(registered(site, artifact, "described"))
    visitor.check()

    opened(visitor, "Describe this version")
    page.get_by_role("textbox", name="Description").fill("Trained on\nOctober")
    visitor.press("Save")
    assert "The description is saved." in visitor.text
    assert "Trained on October" in visitor.text
    opened(visitor, "Set a tag")
    page.get_by_label("Key").fill("team")
    page.get_by_label("Value").fill("risk")
    visitor.press("Set tag")
    opened(visitor, "Point an alias here")
    page.get_by_label("Alias", exact=True).fill("best")
    visitor.press("Set alias")
    assert "@best" in visitor.text
    visitor.check()
    visitor.press("Remove tag team")
    assert site.client.get_version("described", 1).tags == {}


def test_form_in_a_tab_that_is_old_is_refused_with_what_was_typed(
    site: Site, visit: Visit, artifact: Path
) -> None:
    visitor = visit("writer")
    page = visitor.go(registered(site, artifact, "edited"))
    opened(visitor, "Describe this version")
    field = page.get_by_role("textbox", name="Description")
    field.fill("Mine, and old")
    site.client.update_version("edited", 1, description="Somebody else's")

    visitor.press("Save")

    assert "has changed since" in visitor.text
    assert field.input_value() == "Mine, and old"
    visitor.check()
    assert site.client.get_version("edited", 1).description == "Somebody else's"


def test_who_may_only_read_finds_no_form(
    site: Site, visit: Visit, artifact: Path
) -> None:
    visitor = visit("viewer")
    page = visitor.go(registered(site, artifact, "read-only"))

    assert page.locator("main form").count() == 0
    assert page.get_by_role("link", name=re.compile("Staging")).count() == 0
    visitor.check()


def test_page_that_is_open_follows_what_happens(
    site: Site, visit: Visit, artifact: Path
) -> None:
    visitor = visit("viewer")
    visitor.go(registered(site, artifact, "followed"))
    assert "nobody looked at it" not in visitor.text

    site.client.transition("followed", 1, "Staging", reason="nobody looked at it")

    wait_for(lambda: visitor.text, lambda text: "nobody looked at it" in text)
    visitor.check()


def test_files_are_looked_at_and_changed_ones_found(
    site: Site, visit: Visit, artifact: Path
) -> None:
    path = registered(site, artifact, "files")
    source = site.client.get_version("files", 1).raw["source"]
    file = Path(unquote(urlsplit(source).path)) / "notes.md"
    visitor = visit("writer")
    page = visitor.go(path)

    visitor.follow("notes.md")
    assert (
        "# Run 1 <script>alert(1)</script>"
        in page.get_by_label("notes.md", exact=True).inner_text()
    )
    visitor.check()
    with page.expect_download() as downloaded:
        page.get_by_role("link", name="Download").click()
    assert downloaded.value.suggested_filename == "notes.md"
    file.chmod(0o600)
    file.write_text("another")
    visitor.go(path)
    visitor.press("Verify now")
    assert "is not what was registered" in visitor.text
    visitor.check()
    visitor.go(f"{path}/files/notes.md")
    assert "another" not in visitor.text
    visitor.check()
    file.write_text("# Run 1 <script>alert(1)</script>\n")
    visitor.go(path)
    visitor.press("Verify now")
    assert "it is what was registered" in visitor.text


def test_versions_are_compared(site: Site, visit: Visit, artifact: Path) -> None:
    registered(site, artifact, "compared", 3)
    visitor = visit("viewer")
    page = visitor.go("/models/compared/compare")
    visitor.check()

    page.get_by_label("First version").fill("1")
    page.get_by_label("Second version").fill("3")
    visitor.press("Compare")

    assert page.url.endswith("/compare?v=1&v=3&v=&v=&v=")
    assert "auc 0.81 0.83 +0.02" in visitor.text
    assert "seed" not in visitor.text  # folded
    opened(visitor, "1 equal")
    assert "seed 7 7" in visitor.text
    visitor.check()


def test_version_needs_no_script_and_no_width(
    site: Site, visit: Visit, artifact: Path
) -> None:
    path = registered(site, artifact, "narrow", 2)
    visitor = visit("writer", scripts=False, width=NARROW)
    for each in (path, f"{path}/files", f"{path}/files/notes.md"):
        visitor.go(each)
        assert visitor.is_within_width(), each
    visitor.go("/models/narrow/compare?v=1&v=2")
    assert visitor.is_within_width()

    page = visitor.go(path)
    opened(visitor, "Set a tag")
    page.get_by_label("Key").fill("team")
    visitor.press("Set tag")
    assert "The tags are changed." in visitor.text
    opened(visitor, "Delete this version")
    page.get_by_label("Delete version 1 of narrow for good").check()
    visitor.press("Delete version 1")

    assert page.url == f"{site.server.url}/models/narrow?done=version-deleted"
    assert visitor.go(path).title().startswith("Not Found")
