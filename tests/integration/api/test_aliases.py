"""Aliases: names that point at one version of a model."""

import pytest

from tests.integration.api.driver import MODEL, Driver, document_of, problem_of

CHAMPION = f"/models/{MODEL}/aliases/champion"


def test_alias_points_at_a_version_and_shows_on_both(api: Driver) -> None:
    api.create_model()
    api.register()

    answer = api.put(CHAMPION, json={"version": 1})

    assert answer.status_code == 200
    assert document_of(answer) == {"alias": "champion", "version": 1}
    assert api.read(CHAMPION) == api.version(1)
    assert api.version(1)["aliases"] == ["champion"]
    assert api.read(f"/models/{MODEL}")["aliases"] == {"champion": 1}


def test_alias_that_is_set_again_points_elsewhere(api: Driver) -> None:
    api.create_model()
    for number in (api.register(), api.register()):
        api.put(CHAMPION, json={"version": number})

    assert api.read(CHAMPION)["version"] == 2
    assert api.version(1)["aliases"] == []
    assert api.audit(MODEL)[-1]["before"] == {"alias": "champion", "version": 1}
    assert api.audit(MODEL)[-1]["after"] == {"alias": "champion", "version": 2}


def test_version_may_have_several_aliases(api: Driver) -> None:
    api.create_model()
    api.register()
    for alias in ("b", "a", "Ünicode"):
        api.put(f"/models/{MODEL}/aliases/{alias}", json={"version": 1})

    assert api.version(1)["aliases"] == ["a", "b", "Ünicode"]


def test_removed_alias_is_gone(api: Driver) -> None:
    api.create_model()
    api.register()
    api.put(CHAMPION, json={"version": 1})

    assert api.delete(CHAMPION).status_code == 204

    problem_of(api.get(CHAMPION), 404, "not-found")
    problem_of(api.delete(CHAMPION), 404, "not-found")
    assert api.version(1)["aliases"] == []


def test_alias_to_an_absent_version_or_model_is_not_found(api: Driver) -> None:
    api.create_model()

    problem_of(api.put(CHAMPION, json={"version": 1}), 404, "not-found")
    problem_of(
        api.put("/models/absent/aliases/a", json={"version": 1}), 404, "not-found"
    )


@pytest.mark.parametrize("alias", ["latest", "v3", "a b", "a.b"])
def test_alias_that_breaks_the_rules_is_refused(api: Driver, alias: str) -> None:
    api.create_model()
    api.register()

    answer = api.put(f"/models/{MODEL}/aliases/{alias}", json={"version": 1})

    assert list(problem_of(answer, 422, "invalid")["errors"]) == ["alias"]
    assert api.version(1)["aliases"] == []


def test_alias_stays_where_it_is_when_stages_change(api: Driver) -> None:
    api.ready_versions(2)
    api.put(CHAMPION, json={"version": 1})

    api.serve(1, 2)

    assert api.read(CHAMPION)["version"] == 1
