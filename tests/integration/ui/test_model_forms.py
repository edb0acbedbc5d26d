"""What is changed on the page of a model, and what is refused there."""

import pytest

from tests.integration.api.driver import MODEL, Driver
from tests.integration.ui.reading import gone_on, read, said, send

PAGE = f"/models/{MODEL}"


def test_a_description_is_changed(api: Driver) -> None:
    api.create_model()

    path = gone_on(send(api, f"{PAGE}/description", {"description": "one\r\ntwo"}))

    assert api.read(PAGE)["description"] == "one\ntwo"
    assert "The description is changed" in said(read(api, path))


def test_tags_are_set_and_removed(api: Driver) -> None:
    api.create_model(tags={"team": "risk"})

    gone_on(send(api, f"{PAGE}/tags", {"key": "owner", "value": "ann"}))
    gone_on(send(api, f"{PAGE}/tags", {"key": "team", "remove": "1"}))

    assert api.read(PAGE)["tags"] == {"owner": "ann"}


def test_aliases_are_set_and_removed(api: Driver) -> None:
    one, two = api.ready_versions(2)
    for alias, number in (("old", one), ("best", two)):
        gone_on(send(api, f"{PAGE}/aliases", {"alias": alias, "version": str(number)}))

    gone_on(send(api, f"{PAGE}/aliases", {"alias": "old", "remove": "1"}))

    assert api.read(PAGE)["aliases"] == {"best": 2}


def test_an_alias_that_is_a_stage_leads_to_the_move(api: Driver) -> None:
    (one,) = api.ready_versions(1)
    api.moved(one, "Staging")

    asked = {"alias": "production", "version": "1"}
    path = gone_on(send(api, f"{PAGE}/aliases", asked))

    assert path == f"{PAGE}/versions/1/move?to=Production"
    assert api.stages() == {1: "Staging"}
    assert "@staging version 1 by its stage" in said(read(api, PAGE))


def test_a_stage_is_held_and_let_go(api: Driver) -> None:
    api.create_model()
    held = {"stage": "Production", "reason": "audit", "until": "2099-12-01T12:00"}

    path = gone_on(send(api, f"{PAGE}/holds", held))

    (hold,) = api.read(PAGE)["holds"]
    assert hold["until"] == "2099-12-01T12:00:00.000000Z"
    assert "Production is held by bootstrap" in said(read(api, path))
    lifted = {"stage": "Production", "reason": "done", "lift": "1"}
    path = gone_on(send(api, f"{PAGE}/holds", lifted))
    assert api.read(PAGE)["holds"] == []
    assert "No stage is held" in said(read(api, path))


REFUSED = [
    ("description", {"description": "x" * 20_001}, 422, "Description: "),
    ("tags", {"key": "", "value": "typed"}, 422, "Tags: "),
    ("tags", {"key": "..", "value": "typed"}, 422, "tag key '..'"),
    ("aliases", {"alias": "typed", "version": "9"}, 404, "version 9"),
    ("aliases", {"alias": "typed", "version": "one"}, 422, "Version: "),
    ("aliases", {"alias": "latest", "version": "1"}, 422, "reserved"),
    ("aliases", {"alias": "typed", "remove": "1"}, 404, "alias"),
    ("holds", {"stage": "Production", "reason": ""}, 422, "Reason: "),
    (
        "holds",
        {"stage": "Production", "reason": "typed", "until": "2001-01-01T00:00"},
        422,
        "over already",
    ),
    (
        "holds",
        {"stage": "Production", "reason": "typed", "until": "tomorrow"},
        422,
        "Until: ",
    ),
    ("holds", {"stage": "Nowhere", "reason": "typed"}, 422, "unknown stage"),
    ("holds", {"stage": "Staging", "lift": "1"}, 404, "nothing holds"),
]


@pytest.mark.parametrize(("form", "typed", "status", "told"), REFUSED)
def test_what_is_refused_is_shown_in_its_form_with_what_was_typed(  # noqa: PLR0917  # of a table
    api: Driver, form: str, typed: dict[str, str], status: int, told: str
) -> None:
    api.ready_versions(1)
    before = api.dump()

    answer = send(api, f"{PAGE}/{form}", typed)

    assert answer.status_code == status
    assert api.dump() == before
    part = answer.text[answer.text.index(f'id="{form}"') :]
    part = part[: part.index("</section>")]
    assert "<details open>" in part
    assert told in said(part)
    texts = [text for text in typed.values() if text.startswith("typed")]
    assert all(f'value="{text}"' in part for text in texts) or "remove" in typed


def test_forms_are_for_those_alone_who_may(api: Driver) -> None:
    api.ready_versions(1)
    viewer, writer = api.with_role("viewer"), api.with_role("writer")

    assert 'method="post" action="/models' not in read(viewer, PAGE)
    assert f'action="{PAGE}/tags"' in read(writer, PAGE)
    assert f'action="{PAGE}/holds"' not in read(writer, PAGE)
    held = {"stage": "Production", "reason": "audit"}
    assert send(writer, f"{PAGE}/holds", held).status_code == 403
    assert send(viewer, f"{PAGE}/tags", {"key": "a", "value": "b"}).status_code == 403


def test_a_model_is_deleted_once_its_name_was_typed(api: Driver) -> None:
    api.ready_versions(1)
    asked = said(read(api, f"{PAGE}/delete"))
    assert "1 version go" in asked

    refused = send(api, f"{PAGE}/delete", {"confirm": "fruad"})
    path = gone_on(send(api, f"{PAGE}/delete", {"confirm": MODEL}))

    assert refused.status_code == 422
    assert "type that of the model" in refused.text
    assert 'value="fruad"' in refused.text
    assert "The model is deleted" in said(read(api, path))
    assert api.get(PAGE).status_code == 404


def test_a_model_in_use_is_not_deleted(api: Driver) -> None:
    (one,) = api.ready_versions(1)
    api.moved(one, "Staging")
    assert "version 1 in ◐ Staging" in said(read(api, f"{PAGE}/delete"))

    answer = send(api, f"{PAGE}/delete", {"confirm": MODEL})

    assert answer.status_code == 409
    assert "versions 1 are in use" in said(answer.text)
