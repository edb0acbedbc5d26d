"""CSRF: what a page elsewhere makes a browser send is known by its headers."""

import pytest

from registry.auth.cross_origin import is_cross_origin

OWN = "https://ml.example/registry"

#: Sec-Fetch-Site, Origin, and whether it is another site's doing.
HEADERS = [
    ("same-origin", None, False),
    ("none", None, False),
    ("cross-site", None, True),
    ("same-site", None, True),
    ("anything", None, True),
    ("same-origin", "https://evil.example", False),  # the browser's word goes first
    ("cross-site", "https://ml.example", True),
    (None, None, False),
    ("", "", False),
    (None, "https://ml.example", False),
    (None, "https://ml.example:443", False),
    (None, "https://ML.example", False),
    (None, "http://ml.example", True),
    (None, "https://ml.example:8443", True),
    (None, "https://ml.example.evil.example", True),
    (None, "https://evil.example", True),
    (None, "null", True),
    (None, "https://", True),
    (None, "https://ml.example:port", True),
]


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "ANYTHING"])
@pytest.mark.parametrize(("fetch_site", "origin", "expected"), HEADERS)
def test_t15_what_another_site_sends_is_known_by_its_headers(
    method: str, fetch_site: str | None, origin: str | None, *, expected: bool
) -> None:
    found = is_cross_origin(method, fetch_site=fetch_site, origin=origin, own=OWN)

    assert found is expected


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS"])
@pytest.mark.parametrize(("fetch_site", "origin", "_"), HEADERS)
def test_t15_what_changes_nothing_may_come_from_anywhere(
    method: str, fetch_site: str | None, origin: str | None, *, _: bool
) -> None:
    assert not is_cross_origin(method, fetch_site=fetch_site, origin=origin, own=OWN)


def test_t15_own_place_that_is_none_is_nobodys() -> None:
    for origin in ("https://a.example", "null"):
        assert is_cross_origin("POST", fetch_site=None, origin=origin, own="")
