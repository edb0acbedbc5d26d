"""Signing in, and what the client makes of refusals."""

import base64
import time

from tests.mlflow.conformance.cases import section
from tests.mlflow.conformance.world import World

CASES = section(__name__)

NO_SIGN_IN = "MLflow's own server asks nobody who they are"
LONG_SECONDS = 30.0


def _basic(user: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


@CASES.case
def a_token_may_be_sent_as_bearer(world: World) -> None:
    answer = world.get("/registered-models/get", name=world.model())
    assert answer.status == 200


@CASES.each(("token", "", "anybody", "grüße"))
def a_token_may_be_the_password_of_any_user(world: World, user: str) -> None:
    answer = world.send(
        "GET",
        "/registered-models/get",
        params={"name": world.model()},
        headers={"Authorization": _basic(user, world.token)},
    )
    assert answer.status == 200, answer


@CASES.each(
    ("", "Bearer wrong", _basic("admin", "password"), "Bearer", "Digest x", "Basic %%"),
    stricter=NO_SIGN_IN,
)
def who_is_not_signed_in_is_refused(world: World, header: str) -> None:
    answer = world.send(
        "GET",
        "/registered-models/get",
        params={"name": world.model()},
        headers={"Authorization": header},
    )
    if world.is_mlflow:
        assert answer.status == 200
    else:
        answer.refuses(401, "UNAUTHENTICATED")


@CASES.stricter(NO_SIGN_IN)
def nothing_is_changed_by_who_is_not_signed_in(world: World) -> None:
    name = world.name()
    answer = world.send(
        "POST",
        "/registered-models/create",
        json={"name": name},
        headers={"Authorization": ""},
    )
    if world.is_mlflow:
        assert answer.status == 200
    else:
        answer.refuses(401, "UNAUTHENTICATED")
        world.get("/registered-models/get", name=name).refuses(
            404, "RESOURCE_DOES_NOT_EXIST"
        )


@CASES.case
def a_refusal_reaches_the_caller_at_once(world: World) -> None:
    """A refusal that the client would send again blocks for four minutes."""
    name = world.model()
    before = len(world.exchanges)
    started_at = time.monotonic()
    world.refused("RESOURCE_ALREADY_EXISTS", world.client.create_registered_model, name)
    assert len(world.exchanges) == before + 1
    assert time.monotonic() - started_at < LONG_SECONDS


@CASES.case
def the_server_says_that_files_come_in_one_piece(world: World) -> None:
    """Otherwise the client would ask for paths that are not there."""
    answer = world.send("GET", "/server-info", prefix="/api/3.0/mlflow").document
    assert answer["multipart_uploads_enabled"] is False
    assert answer["multipart_downloads_enabled"] is False
    assert answer["workspaces_enabled"] is False


@CASES.case
def a_repeated_creation_is_told_that_it_exists(world: World) -> None:
    """As when the client sends again what had been committed."""
    name = world.name()
    body = {"name": name}
    assert world.post("/registered-models/create", body).status == 200
    world.post("/registered-models/create", body).refuses(
        400, "RESOURCE_ALREADY_EXISTS"
    )


@CASES.case
def a_repeated_deletion_is_told_that_it_is_gone(world: World) -> None:
    body = {"name": world.model()}
    assert world.delete("/registered-models/delete", body).status == 200
    world.delete("/registered-models/delete", body).refuses(
        404, "RESOURCE_DOES_NOT_EXIST"
    )
