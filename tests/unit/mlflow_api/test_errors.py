"""Every error in MLflow's shape, with a status that does not make clients repeat."""

import pytest
from flask import Blueprint, Flask, Response
from flask.testing import FlaskClient
from sqlalchemy.exc import OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from werkzeug.exceptions import RequestEntityTooLarge

from registry import errors
from registry.mlflow_api.errors import MlflowError, register_handlers

#: What MLflow's client sends again, for about four minutes.
REPEATED = {408, 429, 500, 502, 503, 504}


class Failing:
    """An application whose one route raises what it is told to."""

    def __init__(self) -> None:
        self.error: Exception = RuntimeError()
        app = Flask("failing", static_folder=None)
        blueprint = Blueprint("mlflow", __name__)
        blueprint.add_url_rule("/", view_func=self._view)
        register_handlers(blueprint)
        app.register_blueprint(blueprint)
        self.client: FlaskClient = app.test_client()

    def _view(self) -> Response:
        raise self.error

    def answer(self, error: Exception) -> tuple[int, str, str]:
        self.error = error
        answer = self.client.get("/")
        document = answer.get_json()
        assert set(document) == {"error_code", "message"}
        return answer.status_code, document["error_code"], document["message"]


@pytest.fixture
def failing() -> Failing:
    return Failing()


REFUSED = errors.TransitionRefusedError(
    "no", from_stage="None", to_stage="Production", allowed=["Staging"]
)
REFUSALS: list[tuple[errors.RegistryError, int, str]] = [
    (errors.ModelNotFoundError("a"), 404, "RESOURCE_DOES_NOT_EXIST"),
    (errors.VersionNotFoundError("a", 1), 404, "RESOURCE_DOES_NOT_EXIST"),
    (errors.NotFoundError(), 404, "RESOURCE_DOES_NOT_EXIST"),
    (errors.AliasNotFoundError("a", "b"), 400, "INVALID_PARAMETER_VALUE"),
    (errors.NameTakenError("a"), 400, "RESOURCE_ALREADY_EXISTS"),
    (errors.DeletionRefusedError(), 400, "INVALID_STATE"),
    (REFUSED, 400, "INVALID_STATE_TRANSITION"),
    (errors.ArtifactChangedError("x"), 409, "RESOURCE_CONFLICT"),
    (errors.ConflictError(), 409, "RESOURCE_CONFLICT"),
    (errors.StaleExpectationError(), 409, "RESOURCE_CONFLICT"),
    (errors.InvalidInputError("bad", field="name"), 400, "INVALID_PARAMETER_VALUE"),
    (errors.IdempotencyMismatchError("x"), 400, "INVALID_PARAMETER_VALUE"),
    (errors.NotSignedInError(), 401, "UNAUTHENTICATED"),
    (errors.PermissionDeniedError(), 403, "PERMISSION_DENIED"),
    (MlflowError("FEATURE_DISABLED", "off"), 400, "FEATURE_DISABLED"),
]


@pytest.mark.parametrize(("error", "status", "code"), REFUSALS)
def test_refusal_has_its_code_and_is_never_repeated(
    failing: Failing, error: errors.RegistryError, status: int, code: str
) -> None:
    found = failing.answer(error)

    assert found[:2] == (status, code)
    assert status not in REPEATED


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (errors.ModelNotFoundError("a"), "Registered Model with name=a not found"),
        (
            errors.VersionNotFoundError("a", 1),
            "Model Version (name=a, version=1) not found",
        ),
        (errors.AliasNotFoundError("a", "b"), "Registered model alias b not found."),
        (errors.NameTakenError("a"), "Registered Model (name=a) already exists."),
        (
            errors.InvalidInputError("is bad", field="name"),
            "Invalid value for parameter 'name': is bad",
        ),
        (errors.InvalidInputError("all is bad"), "all is bad"),
    ],
)
def test_messages_are_mlflows_own(
    failing: Failing, error: errors.RegistryError, message: str
) -> None:
    assert failing.answer(error)[2] == message


@pytest.mark.parametrize(
    "error",
    [
        errors.ArtifactStoreError(),
        OperationalError("SELECT 1", {}, Exception("gone")),
        PoolTimeoutError(),
    ],
)
def test_what_may_go_better_in_a_moment_is_503(
    failing: Failing, error: Exception
) -> None:
    assert failing.answer(error)[:2] == (503, "TEMPORARILY_UNAVAILABLE")

    assert failing.client.get("/").headers["Retry-After"] == "2"


def test_credential_is_asked_for(failing: Failing) -> None:
    failing.answer(errors.NotSignedInError())

    challenge = failing.client.get("/").headers["WWW-Authenticate"]

    assert challenge == 'Bearer realm="stagegate"'


def test_what_flask_refuses_keeps_its_status(failing: Failing) -> None:
    status, code, message = failing.answer(RequestEntityTooLarge())

    assert (status, code) == (413, "BAD_REQUEST")
    assert message


@pytest.mark.parametrize("error", [RuntimeError("secret"), errors.RegistryError()])
def test_failure_of_ours_is_500_and_says_nothing_of_itself(
    failing: Failing, error: Exception
) -> None:
    status, code, message = failing.answer(error)

    assert (status, code) == (500, "INTERNAL_ERROR")
    assert "secret" not in message
