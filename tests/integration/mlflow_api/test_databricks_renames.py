"""A webhook of one model is of that model, whatever its name becomes."""

from tests.integration.api.driver import ON_BOTH_DATABASES
from tests.integration.api.test_renamed_models import MOVED, heard, subscribe
from tests.integration.mlflow_api.driver import Mlflow


@ON_BOTH_DATABASES
def test_a_webhook_of_databricks_follows_its_model(mlflow: Mlflow) -> None:
    api = mlflow.api
    name, new_name = "a*[1]", "b?"
    mlflow.create_model(name)
    mlflow.create_version(name)
    created = mlflow.done(
        "POST",
        "/registry-webhooks/create",
        model_name=name,
        events=["MODEL_VERSION_TRANSITIONED_STAGE"],
        http_url_spec={"url": "http://127.0.0.1:9/?token=secret"},
    )["webhook"]
    everything = subscribe(api, format="databricks")

    mlflow.done("POST", "/registered-models/rename", name=name, new_name=new_name)
    mlflow.create_model(name)
    mlflow.done(
        "POST",
        "/model-versions/transition-stage",
        name=new_name,
        version="1",
        stage="Staging",
        archive_existing_versions=False,
    )

    def listed(model: str) -> list[str]:
        path = "/registry-webhooks/list"
        found = mlflow.done("GET", path, model_name=model).get("webhooks", [])
        return [each["id"] for each in found]

    assert (listed(name), listed(new_name)) == ([], [created["id"]])
    assert heard(api, created["id"]) == [(MOVED, new_name)]
    assert api.read(f"/webhooks/{everything}")["model_pattern"] is None
    (entry,) = [each for each in api.audit() if each["action"] == "webhook.updated"]
    assert entry["after"]["model_pattern"] == "b[?]"
    assert "secret" not in api.get("/audit").text


def test_what_is_refused_leaves_webhooks_where_they_are(mlflow: Mlflow) -> None:
    mlflow.create_model("a")
    mlflow.create_model("b")
    created = mlflow.done(
        "POST",
        "/registry-webhooks/create",
        model_name="a",
        events=["MODEL_VERSION_CREATED"],
        http_url_spec={"url": "http://127.0.0.1:9/"},
    )["webhook"]

    mlflow.refused(
        *("RESOURCE_ALREADY_EXISTS", "POST", "/registered-models/rename"),
        name="a",
        new_name="b",
    )

    (shown,) = mlflow.done("GET", "/registry-webhooks/list")["webhooks"]
    assert (shown["id"], shown["model_name"]) == (created["id"], "a")
