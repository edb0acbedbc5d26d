"""What browsers are shown where something went wrong, or nobody is signed in."""

from datetime import UTC, datetime, timedelta

import pytest
from flask import Flask

from registry.auth.sign_in import REFRESH
from tests.integration.api.driver import MODEL, Driver
from tests.integration.ui.test_audit_pages import said

BROWSER = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}


@pytest.mark.parametrize("path", ["/nothing", f"/models/{MODEL}/versions/99999999999"])
def test_browser_at_an_address_that_is_none_gets_a_page(api: Driver, path: str) -> None:
    shown = api.client.get(path, headers=BROWSER)
    told = api.client.get(path)

    assert (shown.status_code, shown.mimetype) == (404, "text/html")
    assert (told.status_code, told.mimetype) == (404, "application/problem+json")


@pytest.mark.parametrize("name", ["a?b#c", "50% off", "größe 😀"])
def test_sign_in_leads_back_to_names_with_any_characters(app: Flask, name: str) -> None:
    from urllib.parse import parse_qs, quote, urlsplit

    path = f"/models/{quote(name, safe='')}?page=2&metric=a%26b"

    answer = app.test_client().get(path)

    asked = parse_qs(urlsplit(answer.headers["Location"]).query)
    (back,) = asked["next"]
    assert back == path


def test_form_of_whom_nobody_knows_any_more_is_refused_in_words_for_people(
    app: Flask,
) -> None:
    answer = app.test_client().post(f"/models/{MODEL}/tags", data={"key": "a"})

    assert answer.status_code == 401
    assert "Nobody is signed in here any more" in said(answer)


@pytest.mark.parametrize(
    "path",
    [
        f"/models/{MODEL}/rollback?to={'0' * 12}9999999999999",
        f"/models/{MODEL}?page={'0' * 20}19999999999999",
        f"/models/{MODEL}?below={'9' * 5000}",
        f"/models/{MODEL}?metric=%00",
        f"/models/{MODEL}?sort=metric:%00",
        f"/models/{MODEL}?c=metric:%00",
    ],
)
def test_number_or_text_that_no_database_takes_is_refused(
    api: Driver, path: str
) -> None:
    api.ready_versions(1)

    assert api.client.get(path).status_code == 422


def test_page_that_asks_by_itself_keeps_no_session_alive(
    app: Flask, monkeypatch: pytest.MonkeyPatch
) -> None:
    noted: list[datetime] = []
    monkeypatch.setattr(
        "registry.auth.sign_in.sessions.note_seen",
        lambda *_args, **known: noted.append(known["at"]),
    )
    monkeypatch.setattr(
        "registry.auth.sign_in.sessions.SEEN_EVERY", timedelta(seconds=-1)
    )
    monkeypatch.setattr("registry.services.sessions.SEEN_EVERY", timedelta(seconds=-1))
    browser = app.test_client()
    from tests.integration.api.test_sessions import sign_in

    sign_in(browser)
    browser.get("/models", headers={REFRESH: "1"}).close()
    assert noted == []

    browser.get("/models").close()
    assert len(noted) == 1
    assert noted[0] <= datetime.now(UTC)
