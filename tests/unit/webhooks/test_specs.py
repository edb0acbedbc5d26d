"""Which choices of a subscription are refused, and what is made of the others."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from tests.certificates import Authority, encrypted
from webhooks.errors import InvalidSubscriptionError
from webhooks.roster.spec_checks import check_spec
from webhooks.roster.specs import SubscriptionSpec
from webhooks.sending.guard import AddressGuard

GUARD = AddressGuard()
SPEC = SubscriptionSpec("https://example.com/hook")
AUTHORITY = Authority()
CLIENT, OTHER = AUTHORITY.issue("client"), AUTHORITY.issue("other")
SLACK = "https://hooks.slack.com/services/T0/B0/secret"


def test_header_names_are_lower_case_from_here_on() -> None:
    found = check_spec(GUARD, replace(SPEC, headers={"X-Key": "a b"}))

    assert found.headers == {"x-key": "a b"}


@pytest.mark.parametrize("name", ["slack", "teams"])
def test_what_follows_the_host_of_a_chats_url_becomes_a_credential(name: str) -> None:
    found = check_spec(GUARD, replace(SPEC, url=SLACK, format=name))

    assert found.url == "https://hooks.slack.com/${url_secret}"
    assert found.credentials == {"url_secret": "services/T0/B0/secret"}


def test_a_chats_url_with_a_placeholder_of_its_own_stays() -> None:
    url = "https://hooks.slack.com/services/${path}"
    spec = replace(SPEC, url=url, format="slack", credentials={"path": "T0/B0/x"})

    assert check_spec(GUARD, spec) == spec


def test_a_chats_url_without_a_path_stays() -> None:
    spec = replace(SPEC, url="https://hooks.slack.com/a", format="slack")

    assert check_spec(GUARD, spec) == spec


def test_certificates_that_fit_are_taken() -> None:
    spec = replace(
        SPEC,
        ca_certificate=AUTHORITY.certificate,
        client_certificate=CLIENT.certificate,
        client_key=CLIENT.key,
    )

    assert check_spec(GUARD, spec) == spec


def test_nothing_secret_is_in_the_representation() -> None:
    spec = replace(SPEC, credentials={"a": "canary"}, client_key="canary")

    assert "canary" not in repr(spec)


def refused(
    field: str,
    **choices: Any,  # noqa: ANN401  # Any field of SubscriptionSpec.
) -> tuple[str, dict[str, Any]]:
    return field, choices


REFUSED = [
    refused("description", description="x" * 1001),
    refused("description", description="a\0b"),
    refused("event_types", event_types=[]),
    refused("event_types", event_types=["*"] * 51),
    refused("event_types", event_types=["model.*.x"]),
    refused("event_types", event_types=["x" * 1001]),
    refused("subject_pattern", subject_pattern="x" * 1001),
    refused("targets", targets=[]),
    refused("format", format="smoke-signals"),
    refused("on_poison", on_poison="panic"),
    refused("rate_per_minute", rate_per_minute=0),
    refused("rate_per_minute", rate_per_minute=60_001),
    refused("signatures", signatures=[]),
    refused("signatures", signatures=["v1", "v1"]),
    refused("signatures", signatures=["v2"]),
    refused("schedule_seconds", schedule_seconds=[]),
    refused("schedule_seconds", schedule_seconds=[0, -1]),
    refused("schedule_seconds", schedule_seconds=[1, 30 * 24 * 3600]),
    refused(
        "schedule_seconds", schedule_seconds=[int(timedelta(days=31).total_seconds())]
    ),
    refused("credentials", credentials={str(n): "abcd" for n in range(21)}),
    refused("credentials", credentials={"a-b": "abcd"}),
    refused("credentials", credentials={"deployment_token": "abcd"}),
    refused("credentials.a", credentials={"a": "abc"}),
    refused("credentials.a", credentials={"a": "a" * 4097}),
    refused("credentials.a", credentials={"a": "abcd\n"}),
    refused("headers", headers={f"x-{n}": "a" for n in range(21)}),
    refused("headers", headers={"X-A": "a", "x-a": "b"}),
    refused("headers", headers={"a b": "a"}),
    refused("headers", headers={"x" * 101: "a"}),
    refused("headers", headers={"Host": "example.org"}),
    refused("headers", headers={"Content-Type": "text/plain"}),
    refused("headers", headers={"Webhook-Id": "a"}),
    refused("headers", headers={"ce-id": "a"}),
    refused("headers.x-a", headers={"X-A": "a\r\nX-B: c"}),
    refused("headers.x-a", headers={"X-A": "ü"}),
    refused("headers.x-a", headers={"X-A": " a"}),
    refused("headers.x-a", headers={"X-A": ""}),
    refused("headers.x-a", headers={"X-A": "a" * 4097}),
    refused("headers.x-a", headers={"X-A": "${"}),
    refused("headers.x-a", headers={"X-A": "${gone}"}),
    refused("headers.x-a", headers={"X-A": "${a}"}, credentials={"a": "abcdü"}),
    refused("headers.authorization", headers={"Authorization": "Bearer literal"}),
    refused("credentials", format="github", credentials={"token": "abcdü"}),
    refused("options", format="jenkins", options={"payload": {"a": {"value": "${b}"}}}),
    refused("options.hub_signature", options={"hub_signature": "${gone}"}),
    refused("url", url="https://example.com/${gone}"),
    refused("url", url="https://example.com/${"),
    refused("url", url="https://${a}.example.com/", credentials={"a": "abcd"}),
    refused("url", url="https:${a}", credentials={"a": "//example.com"}),
    refused("url", url="https://example.com/${a}", credentials={"a": "a b c"}),
    refused("url", url="https://example.com/${a}", credentials={"a": "#frag"}),
    refused("url", url="https://example.com/${deployment_token}"),
    refused("url", url="https://127.0.0.1/"),
    refused("url", url="ftp://example.com/"),
    refused("client_key", client_certificate=CLIENT.certificate),
    refused("client_certificate", client_key=CLIENT.key),
    refused(
        "client_certificate",
        client_certificate=CLIENT.certificate,
        client_key=OTHER.key,
    ),
    refused(
        "client_certificate",
        client_certificate=CLIENT.certificate,
        client_key=encrypted(CLIENT.key, b"password"),
    ),
    refused(
        "client_certificate",
        client_certificate=CLIENT.certificate + CLIENT.key,
        client_key=CLIENT.key,
    ),
    refused("ca_certificate", ca_certificate="not PEM"),
    refused("ca_certificate", ca_certificate="ü"),
    refused("ca_certificate", ca_certificate="\0"),
    refused("ca_certificate", ca_certificate="a" * 65_537),
]


@pytest.mark.parametrize(("field", "choices"), REFUSED)
def test_a_choice_that_breaks_a_rule_is_refused_by_name(
    field: str, choices: dict[str, Any]
) -> None:
    with pytest.raises(InvalidSubscriptionError) as caught:
        check_spec(GUARD, replace(SPEC, **choices))

    assert caught.value.field == field
