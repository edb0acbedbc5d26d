"""Every page that there is, by an address in the world of ``tests.browser.world``.

``test_tour.py`` holds the table to the application's own routes: a new page without a
line here fails.
"""

from collections.abc import Mapping
from urllib.parse import quote

from tests.browser.world import World

#: By endpoint, without ``ui.``: paths in which ``{…}`` are named by ``names_of``.
PAGES: Mapping[str, tuple[str, ...]] = {
    "now.show": ("/",),
    "models.index": (
        *("/models", "/models?q={word}", "/models?q=nothing-like-it"),
        *("/models?order=changed", "/models?kind=prompts"),
    ),
    "models.show": (
        "/models/{fraud}",
        "/models/{fraud}?c=stage&c=metric:auc&c=commit&sort=-metric:auc&metric=loss",
        "/models/{summary}",
        "/models/{churn}",
        "/models/{prices}",
    ),
    "model_forms.ask_to_delete": ("/models/{prices}/delete",),
    "versions.show": (
        "/models/{fraud}/versions/4",
        "/models/{fraud}/versions/7",
        "/models/{churn}/versions/2",
    ),
    "files.index": ("/models/{fraud}/versions/4/files",),
    "files.show": (
        "/models/{fraud}/versions/4/files/MLmodel",
        "/models/{fraud}/versions/4/files/model.bin",
    ),
    "compare.show": (
        "/models/{fraud}/compare?v=4&v=5&v=6",
        "/models/{fraud}/compare",
        "/models/{fraud}/compare?v=4&v=99",
    ),
    "moves.show": (
        "/models/{fraud}/versions/6/move?to=Production",
        "/models/{fraud}/versions/7/move?to=Production",
        "/models/{churn}/versions/2/move?to=Production",
        "/models/{churn}/versions/2/move",
    ),
    "moves.show_rollback": ("/models/{fraud}/rollback", "/models/{churn}/rollback"),
    "requests.index": ("/requests", "/requests?show=open", "/requests?show=past"),
    "requests.show": ("/requests/{request}",),
    "consumers.index": ("/consumers", "/consumers?model=nothing-like-it"),
    "webhooks.index": ("/webhooks",),
    "webhooks.show": ("/webhooks/{deploys}", "/webhooks/{fails}", "/webhooks/{paused}"),
    "webhooks.confirm_deletion": ("/webhooks/{paused}/delete",),
    "webhooks_editing.new": ("/webhooks/new", "/webhooks/new?format=github"),
    "webhooks_editing.edit": ("/webhooks/{fails}/edit",),
    "webhooks_redelivery.choose": ("/webhooks/{fails}/redeliver",),
    "deliveries.index": (
        "/deliveries",
        "/deliveries?state=delivered",
        "/deliveries?webhook={fails}&state=blocked&model=nothing-like-it",
    ),
    "deliveries.show": ("/deliveries/{delivery}",),
    "audit.index": (
        "/audit",
        "/audit?model={fraud}&action=model_version.stage_changed",
        "/audit?actor=nobody",
    ),
    "audit.entry": ("/audit/entries/system/2",),
    "audit.verify": ("/audit/verify", "/audit/verify?model={fraud}"),
    "audit.as_of": ("/audit/as-of", "/audit/as-of?at=2100-01-01"),
    "policy.show": ("/policy",),
    "access.tokens": ("/admin/tokens", "/admin/tokens?kind=ci"),
    "access.publishers": ("/admin/publishers",),
    "access.roles": ("/admin/roles?done=granted",),
    "account.show": ("/account",),
    "sign_in.show": ("/signin",),
}


def names_of(world: World) -> dict[str, str]:
    """What stands for the names in ``PAGES``."""
    (delivery, *_) = world.client.webhooks.deliveries(world.endpoints["fails"])
    names = {
        "fraud": world.fraud,
        "churn": world.churn,
        "prices": world.prices,
        "summary": world.summary,
        "word": world.fraud[:3],
        "request": world.request,
        "delivery": delivery.id,
        **world.endpoints,
    }
    return {name: quote(value, safe="") for name, value in names.items()}


def paths(world: World) -> list[str]:
    """Return every address of the tour."""
    names = names_of(world)
    return [path.format(**names) for group in PAGES.values() for path in group]
