"""What is written of a subscription's fields besides their one declaration agrees."""

from types import NoneType
from typing import Any, get_args, get_type_hints

from registry.client.types import Subscription as Record
from registry.client.webhooks import SubscriptionChanges, SubscriptionFilters
from registry.domain.audit_privacy import public_webhook
from webhooks.formats import FORMATS
from webhooks.roster.specs import FACTS, SHOWN, SeenBy
from webhooks.tables import Subscription

NAMES = {facts.name for facts in FACTS.values()}
COLUMNS = Subscription.__table__.c


def test_every_field_has_its_column() -> None:
    for field, facts in FACTS.items():
        if facts.seen_by == SeenBy.NOBODY:
            assert COLUMNS[f"sealed_{field}"].nullable
        else:
            assert COLUMNS[field].nullable == facts.is_nullable


def test_the_client_can_say_every_field() -> None:
    assert set(SubscriptionFilters.__annotations__) == NAMES - {"url"}
    assert set(get_type_hints(SubscriptionChanges)) == NAMES | {"state"}


def test_the_client_shows_every_field() -> None:
    hints = get_type_hints(Record)
    for facts in map(FACTS.__getitem__, SHOWN):
        assert (NoneType in get_args(hints[facts.name])) == facts.is_nullable


def test_every_format_can_be_chosen() -> None:
    assert FACTS["format"].rule["enum"] == tuple(FORMATS)


def test_what_is_for_admins_is_left_out_of_entries() -> None:
    document: dict[str, Any] = {
        **dict.fromkeys(NAMES, "said"),
        "url": "https://example.com/said",
        "headers": {"x-said": "said"},
        "options": {"inputs": {"said": "said"}},
    }

    entry = public_webhook(document)

    changed = {name for name in NAMES if entry[name] != document[name]}
    assert changed == {f.name for f in FACTS.values() if f.seen_by == SeenBy.ADMINS}
