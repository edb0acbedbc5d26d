"""Addresses of servers: checked, and shown without the credentials in them."""

import pytest

from registry.addresses import is_loopback, masked, server_address, without_user

SECRET = "pw-1"


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("http://registry", "http://registry"),
        (" https://registry.example:8443/a/b// ", "https://registry.example:8443/a/b"),
        ("http://[::1]:8000/", "http://[::1]:8000"),
        ("HTTP://127.0.0.1", "HTTP://127.0.0.1"),
    ],
)
def test_address_of_a_server_has_no_slash_at_its_end(text: str, address: str) -> None:
    assert server_address(text) == address


@pytest.mark.parametrize(
    "text",
    [
        "",
        "registry:8000",
        "ftp://registry",
        "http://",
        "http://registry:0",
        "http://registry:99999",
        "http://[x",
        "http://a b",
        "http://a\nb",
        "http://a\x7fb",
        "http://a\\b",
        f"http://user:{SECRET}@registry",
        f"http://:{SECRET}@registry",
        f"http://{SECRET}@registry",
        f"http://user:{SECRET}",
        f"http://user:p/{SECRET}@registry",
        f"http://user:p#{SECRET}@registry",
        f"http://user:p?{SECRET}@registry",
        f"http:/user:{SECRET}@registry",
        f"user:{SECRET}@registry",
        f"http://registry/?token={SECRET}",
        f"http://registry#{SECRET}",
        f"http://[{SECRET}",
    ],
)
def test_address_with_more_than_host_port_and_path_is_not_repeated(text: str) -> None:
    with pytest.raises(ValueError, match="expected http") as refusal:
        server_address(text)

    assert SECRET not in str(refusal.value)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("see http://user:pw-1@host/x.", "see http://***@host/x."),
        ("http://pw-1@host https://pw-1@host", "http://***@host https://***@host"),
        ("'postgresql+psycopg://u:p@pw-1@db/x'", "'postgresql+psycopg://***@db/x'"),
        ("s3://key:pw-1@bucket/x", "s3://***@bucket/x"),
        ("//:pw-1@host", "//***@host"),
        ("HTTPS://pw-1@host", "HTTPS://***@host"),
        ("GET http://store/key?sig=pw-1&x=1 failed", "GET http://store/key?*** failed"),
        (
            "exceeded with url: /key?sig=pw-1 (Caused",
            "exceeded with url: /key?*** (Caused",
        ),
        # No credentials: a container, a path, a mail address.
        ("wasbs://container@account/x", "wasbs://container@account/x"),
        ("http://host:80/@scope/x a@b", "http://host:80/@scope/x a@b"),
    ],
)
def test_credentials_in_a_text_are_masked(text: str, shown: str) -> None:
    assert masked(text) == shown


def test_users_are_masked_where_queries_are_facts() -> None:
    shown = without_user("https://user:pw-1@host/data?rev=3")

    assert shown == "https://***@host/data?rev=3"


def test_this_machine_is_known_to_itself() -> None:
    for host in ("localhost", "LOCALHOST.", "a.localhost", "127.9.9.9", "[::1]", "::1"):
        assert is_loopback(host), host


def test_other_hosts_are_not_this_machine() -> None:
    for host in ("", "localhost.example", "127.0.0.1.example", "10.0.0.1", "[::]"):
        assert not is_loopback(host), host
