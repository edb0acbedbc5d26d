"""All cases, in the order in which they run."""

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


def all_cases() -> list[Case]:
    """Every case there is."""
    found: list[Case] = []
    for module in ALL_MODULES:
        declared: Section = module.CASES
        found.extend(declared.cases)
    return found
