"""Every page: with what people write in it, and with what would run if it could."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from playwright.sync_api import Browser

import registry.ui
from registry.settings import packaged_config
from tests.browser.chromium import NARROW, Visitor, visiting
from tests.browser.injections import NAMES, Hostile
from tests.browser.tour import PAGES, paths
from tests.browser.world import GATES, Texts, World, fill, refuse_failing
from tests.integration.conftest import close_app, make_app
from tests.receiver import Receiver
from tests.server import running_server

#: What answers with a file, or with what only another page leads to.
NO_PAGES = {"assets.asset", "sign_in.sign_in_once", "versions.download"}
ENDPOINT = re.compile(r"""(?:url_for\(|nav_link\("[^"]*", )["']([\w.]+\w)["']""")
FORM = re.compile(r"<form\b[^>]*>")
#: Of one's own account alone.
MAY_SEND = re.compile(r' action="(/signout|/account/signout-everywhere)"')
TEMPLATES = Path(registry.ui.__file__).parent / "templates"
PLANTED = """
[...document.querySelectorAll("[data-planted]")].map((each) => each.outerHTML)
"""
ADDRESSES = """
[...document.querySelectorAll("[href],[src],[action],[formaction]")]
    .map((each) => each.href?.baseVal ?? each.href ?? each.src ?? each.action)
    .map((address) => new URL(address, document.baseURI))
    .filter((address) => !/^https?:$/.test(address.protocol)
        || address.hostname === "evil.example")
    .map((address) => address.href)
"""


@contextmanager
def filled(directory: Path, texts: Texts) -> Iterator[World]:
    policy = directory / "policy.toml"
    policy.write_text(packaged_config("policy.toml").read_text() + GATES)
    with (
        running_server(directory, POLICY_FILE=str(policy)) as server,
        Receiver(answers=refuse_failing) as receiver,
    ):
        yield fill(server, receiver, directory, texts)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with filled(tmp_path_factory.mktemp("world"), Texts()) as made:
        yield made


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with filled(tmp_path_factory.mktemp("hostile"), Hostile()) as made:
        yield made


def go(visitor: Visitor, path: str) -> None:
    answer = visitor.page.goto(f"{visitor.url}{path}")
    assert answer is not None
    is_missing = path.endswith("v=99")  # a version that is not there
    assert answer.status == (404 if is_missing else 200), path


def test_every_page_is_in_the_tour(tmp_path: Path) -> None:
    app = make_app(tmp_path)
    close_app(app)
    pages = {
        rule.endpoint.removeprefix("ui.")
        for rule in app.url_map.iter_rules()
        if rule.endpoint.startswith("ui.") and "GET" in (rule.methods or ())
    }

    assert pages - NO_PAGES == PAGES.keys()


def test_every_link_in_a_template_leads_to_a_route(tmp_path: Path) -> None:
    app = make_app(tmp_path)
    close_app(app)
    named = {
        (file.name, endpoint)
        for file in TEMPLATES.glob("*.html")
        for endpoint in ENDPOINT.findall(file.read_text())
    }

    assert named
    assert [each for each in named if each[1] not in app.view_functions] == []


def test_every_page_can_be_used_by_everybody_in_light_and_dark_and_narrow(
    browser: Browser, world: World
) -> None:
    with (
        visiting(browser, world.server, world.server.token) as wide,
        visiting(
            browser, world.server, world.server.token, width=NARROW, scripts=False
        ) as narrow,
    ):
        for path in paths(world):
            go(wide, path)
            wide.check()
            go(narrow, path)
            assert narrow.is_within_width(), path


def test_nothing_that_was_written_runs_or_becomes_part_of_a_page(
    browser: Browser, hostile: World
) -> None:
    asked: list[str] = []
    with visiting(browser, hostile.server, hostile.server.token) as visitor:
        visitor.page.on("dialog", lambda dialog: asked.append(dialog.message))
        visitor.page.on("request", lambda request: asked.append(request.url))
        for path in paths(hostile):
            go(visitor, path)
            assert visitor.page.evaluate(PLANTED) == [], path
            assert visitor.page.evaluate(ADDRESSES) == [], path
            assert visitor.complaints == [], path

    foreign = [url for url in asked if not url.startswith(hostile.server.url)]
    assert [url for url in foreign if not url.startswith("data:image/svg")] == []


def test_names_come_through_as_they_were_written(
    browser: Browser, hostile: World
) -> None:
    with visiting(
        browser, hostile.server, hostile.server.token, width=NARROW
    ) as visitor:
        for name in NAMES.values():
            go(visitor, "/models")
            visitor.page.get_by_role("link", name=name, exact=True).first.click()
            visitor.page.wait_for_load_state()
            assert name in visitor.page.get_by_role("heading", level=1).inner_text()
            assert visitor.is_within_width()


@pytest.mark.parametrize("role", ["viewer", "auditor"])
def test_who_may_only_look_is_offered_no_change(
    browser: Browser, world: World, role: str
) -> None:
    token = world.token(role, role)
    with visiting(browser, world.server, token) as visitor:
        for path in paths(world):
            page = visitor.page.request.get(f"{visitor.url}{path}").text()
            assert page.rstrip().endswith("</html>"), path
            forms = [form for form in FORM.findall(page) if "post" in form]
            others = [form for form in forms if not MAY_SEND.search(form)]
            assert others == [], path
