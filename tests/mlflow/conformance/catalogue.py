"""All cases, in the order in which they run."""

from collections.abc import Sequence

from tests.mlflow.conformance import (
    aliases,
    copying,
    deliveries,
    latest,
    models,
    paging,
    prompts,
    renaming,
    search_models,
    search_versions,
    sources,
    stages,
    tags,
    timestamps,
    transport,
    versions,
    webhooks,
    wire,
)
from tests.mlflow.conformance.cases import Case, Section

ALL_MODULES = (
    models,
    renaming,
    versions,
    tags,
    aliases,
    stages,
    latest,
    timestamps,
    sources,
    copying,
    search_models,
    search_versions,
    paging,
    prompts,
    wire,
    transport,
    deliveries,
    # Last: whatever happened afterwards would be sent to addresses elsewhere.
    webhooks,
)


#: Whose answers may depend on the policy or the database.
BY_POLICY_OR_DATABASE = (
    *("models/", "renaming/", "versions/", "tags/", "aliases/", "stages/", "latest/"),
    *("timestamps/", "copying/", "search_models/", "search_versions/", "paging/"),
    *("prompts/prompts_are_searched", "prompts/searches"),
)


def all_cases() -> list[Case]:
    """Every case there is."""
    found: list[Case] = []
    for module in ALL_MODULES:
        declared: Section = module.CASES
        found.extend(declared.cases)
    return found


def cases_with(texts: Sequence[str]) -> list[Case]:
    """Those with one of the texts in their names, or all where there is none."""
    return [
        case
        for case in all_cases()
        if not texts or any(text in case.identity for text in texts)
    ]
