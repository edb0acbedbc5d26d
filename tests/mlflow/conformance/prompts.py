"""MLflow's prompts: registered, loaded, searched, tagged, deleted.

A prompt travels as a registered model, its versions as model versions; tags say what
they are. The client notes the experiment of who registers or loads a prompt in a tag,
in a thread of its own: ``settled`` waits for it.
"""

import threading
from collections.abc import Callable
from typing import Any

from tests.mlflow.conformance.cases import section
from tests.mlflow.conformance.world import PREFIX, SOURCE, Answer, World

CASES = section(__name__)

IS_PROMPT = "mlflow.prompt.is_prompt"
TEXT = "mlflow.prompt.text"
TYPE = "_mlflow_prompt_type"
RUNS = "mlflow.prompt.associatedRunIds"
NOT_THERE, INVALID = "RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"
TAKEN = "RESOURCE_ALREADY_EXISTS"
PLACEHOLDERS = ("dummy-source", "prompt-template")
GREETING = "Hello {{name}}"
TALK = [
    {"role": "system", "content": "You are {{mood}}."},
    {"role": "user", "content": "Hello {{name}}"},
]
TEXTS = (
    "",
    "line one\nline two\t'quoted' \"double\" \\ %",
    "Здравствуй, {{имя}} 🚀",
    "{% if name %}{{ name }}{% endif %}",
)
ELSEWHERE = ("s3://bucket/prompt", "prompt", "/etc/passwd", "models:/other/1", "DUMMY")
MIXED = "MLflow's server does not hold a version against what it is a version of"
STAGES = "MLflow's server moves prompts through stages, though its client does not"
CHANGED = "MLflow's server lets a tag change what was registered"

Prompt = Any  # MLflow's PromptVersion has no types where this is checked


def settled() -> None:
    """Wait until the client has noted the experiment."""
    for thread in threading.enumerate():
        if thread.name.startswith("link_prompt_to_experiment_thread"):
            thread.join()


def registered(world: World, name: str | None = None, **fields: object) -> Prompt:
    """A new version of a prompt, of a new one unless one is named."""
    own = {"name": name or world.name("prompt"), "template": GREETING, **fields}
    made = world.module.genai.register_prompt(**own)
    settled()
    return made


def loaded(world: World, *named: object, **options: object) -> Prompt:
    """What the server says of a prompt now."""
    found = world.module.genai.load_prompt(*named, cache_ttl_seconds=0, **options)
    settled()
    return found


def created(world: World, name: str, source: str, *, is_prompt: str = "true") -> Answer:
    """Send what a client sends to create a version of a prompt."""
    tags = [{"key": IS_PROMPT, "value": is_prompt}, {"key": TEXT, "value": "x"}]
    body = {"name": name, "source": source, "tags": tags}
    return world.post("/model-versions/create", body)


def read(world: World, name: str, number: str = "1") -> dict[str, Any]:
    """A version as the server answers it."""
    answer = world.get("/model-versions/get", name=name, version=number)
    version: dict[str, Any] = answer.document["model_version"]
    return version


def named(found: Any) -> list[str]:  # noqa: ANN401  # has no types here
    return [each.name for each in found]


@CASES.case
def a_prompt_is_loaded_as_it_was_registered(world: World) -> None:
    made = registered(world, commit_message="first", tags={"team": "care"})
    name = made.name
    for found in (
        made,
        loaded(world, f"prompts:/{name}/1"),
        loaded(world, name, version=1),
        loaded(world, name, version="1"),
        loaded(world, name),
        loaded(world, f"prompts:/{name}@latest"),
    ):
        assert (found.name, found.version) == (name, 1)
        assert found.template == GREETING
        assert found.commit_message == "first"
        assert found.tags == {"team": "care"}
        assert found.is_text_prompt
    assert loaded(world, name).format(name="Ann") == "Hello Ann"


@CASES.each(TEXTS)
def a_template_may_be_any_text(world: World, text: str) -> None:
    made = registered(world, template=text)
    assert loaded(world, made.name).template == text


@CASES.case
def a_template_may_have_100000_characters_and_no_more(world: World) -> None:
    for text in ("x" * 100_000, "я" * 100_000):
        made = registered(world, template=text)
        assert loaded(world, made.name).template == text
    name = world.name("prompt")
    long = {"name": name, "template": "x" * 100_001}
    world.refused(INVALID, lambda: world.module.genai.register_prompt(**long))
    # The client takes back what it had created for it.
    assert world.client.get_prompt(name) is None


@CASES.case
def a_chat_is_loaded_as_it_was_registered(world: World) -> None:
    made = registered(world, template=TALK)
    found = loaded(world, made.name)
    assert found.template == TALK
    assert not found.is_text_prompt
    assert found.variables == {"mood", "name"}


@CASES.case
def response_format_and_model_config_come_back(world: World) -> None:
    schema = {"type": "object", "properties": {"answer": {"type": "string"}}}
    config = {"model_name": "large", "temperature": 0.5, "max_tokens": 100}
    made = registered(world, response_format=schema, model_config=config)
    found = loaded(world, made.name)
    assert found.response_format == schema
    assert found.model_config == config
    assert found.tags == {}


@CASES.case
def the_model_config_may_change(world: World) -> None:
    genai, name = world.module.genai, registered(world).name
    genai.set_prompt_model_config(name, 1, {"model_name": "small"})
    assert loaded(world, name, version=1).model_config == {"model_name": "small"}
    genai.delete_prompt_model_config(name, 1)
    assert loaded(world, name, version=1).model_config is None


@CASES.case
def a_version_is_ready_at_once_and_has_no_artifact(world: World) -> None:
    name = registered(world).name
    version = read(world, name)
    assert (version["status"], version["source"]) == ("READY", "dummy-source")
    assert (version["current_stage"], version["run_id"]) == ("None", "")
    uri = world.get("/model-versions/get-download-uri", name=name, version="1")
    assert uri.document == {"artifact_uri": "dummy-source"}


@CASES.case
def versions_are_numbered_and_the_last_is_the_latest(world: World) -> None:
    name = registered(world).name
    assert registered(world, name, template="Hi {{name}}").version == 2
    assert loaded(world, name).version == 2
    assert loaded(world, name, version=1).template == GREETING


@CASES.case
def the_client_sends_what_it_sends_for_models(world: World) -> None:
    name = world.name("prompt")
    with world.watched() as seen:
        world.module.genai.register_prompt(name=name, template=GREETING)
        settled()
    noted = ["GET /registered-models/get", "POST /registered-models/set-tag"]
    assert seen == [
        "GET /registered-models/get",
        "POST /registered-models/create",
        "POST /model-versions/create",
        "GET /registered-models/get",
        *noted,
    ]
    with world.watched() as seen:
        world.module.genai.register_prompt(name=name, template="x", tags={"k": "v"})
        settled()
    assert seen == [
        "GET /registered-models/get",
        "POST /registered-models/set-tag",
        "POST /model-versions/create",
        "GET /registered-models/get",
        noted[0],
    ]
    tags = world.module.genai.get_prompt_tags(name)
    assert tags.pop("_mlflow_experiment_ids") == ",0,"
    assert tags == {"k": "v"}


@CASES.case
def a_version_that_is_not_there_is_404(world: World) -> None:
    name, nobody = registered(world).name, world.name("prompt")
    for wanted in (name, nobody):
        uri = f"prompts:/{wanted}/9"
        message = world.refused(NOT_THERE, lambda uri=uri: loaded(world, uri))
        assert wanted in message
        assert loaded(world, uri, allow_missing=True) is None


@CASES.case
def an_alias_leads_to_its_version(world: World) -> None:
    genai, name = world.module.genai, registered(world).name
    registered(world, name, template="Hi")
    uri = f"prompts:/{name}@champion"
    for number, text in ((1, GREETING), (2, "Hi")):
        genai.set_prompt_alias(name, alias="champion", version=number)
        found = loaded(world, uri)
        assert (found.template, found.aliases) == (text, ["champion"])
    assert loaded(world, name, version=1).aliases == []
    by_alias = world.client.get_prompt_version_by_alias(name, "champion")
    assert by_alias.version == 2
    genai.delete_prompt_alias(name, alias="champion")
    world.refused(INVALID, lambda: loaded(world, uri))
    assert loaded(world, uri, allow_missing=True) is None


@CASES.case
def an_alias_of_a_version_that_is_not_there_is_refused(world: World) -> None:
    name = registered(world).name
    client = world.client
    for wanted, number in ((name, 9), (world.name(), 1), (world.version().name, 1)):
        world.refused(NOT_THERE, client.set_prompt_alias, wanted, "best", number)
    for alias in ("latest", "v2"):
        world.refused(INVALID, client.set_prompt_alias, name, alias, 1)


@CASES.case
def a_prompt_and_its_versions_have_tags_of_their_own(world: World) -> None:
    genai, name = world.module.genai, registered(world, tags={"a": "1"}).name
    registered(world, name, template="Hi", tags={"a": "2"})
    genai.set_prompt_tag(name, "of", "prompt")
    genai.set_prompt_version_tag(name, 1, "of", "version")
    tags = genai.get_prompt_tags(name)
    assert (tags["a"], tags["of"]) == ("2", "prompt")
    assert loaded(world, name, version=1).tags == {"a": "1", "of": "version"}
    assert loaded(world, name, version=2).tags == {"a": "2"}
    genai.delete_prompt_tag(name, "of")
    genai.delete_prompt_version_tag(name, 1, "of")
    assert "of" not in genai.get_prompt_tags(name)
    assert loaded(world, name, version=1).tags == {"a": "1"}


@CASES.case
def a_prompt_may_be_created_before_its_versions(world: World) -> None:
    client, name = world.client, world.name("prompt")
    made = client.create_prompt(name, description="greets", tags={"k": "v"})
    for prompt in (made, client.get_prompt(name)):
        assert (prompt.name, prompt.description) == (name, "greets")
        assert prompt.tags == {"k": "v"}
    version = client.create_prompt_version(name, TALK, "first", {"of": "version"})
    for found in (version, client.get_prompt_version(name, "1")):
        assert (found.version, found.template) == (1, TALK)
        assert (found.commit_message, found.tags) == ("first", {"of": "version"})
    assert read(world, name)["source"] == "prompt-template"


@CASES.case
def a_prompt_that_exists_is_not_created_again(world: World) -> None:
    name = registered(world).name
    message = world.refused(TAKEN, world.client.create_prompt, name)
    assert f"Prompt (name={name}) already exists." in message


@CASES.case
def there_is_no_prompt_where_there_is_a_model_or_nothing(world: World) -> None:
    model, client = world.version().name, world.client
    assert client.get_prompt(model) is None
    assert client.get_prompt(world.name()) is None
    for call in (client.get_prompt_version, client.search_prompt_versions):
        number = ("1",) if call == client.get_prompt_version else ()
        message = world.refused(INVALID, call, model, *number)
        assert "is registered as a model, not a prompt" in message
        world.refused(NOT_THERE, call, world.name(), *number)


@CASES.case
def prompts_are_searched_by_name_and_tags(world: World) -> None:
    start = world.name()
    for end, tags in (("a", {"k": "x"}), ("b", {"k": "y"}), ("c", {"k": "x"})):
        registered(world, f"{start}-{end}", tags=tags)
    world.client.create_registered_model(f"{start}-d", tags={"k": "x"})
    found = world.module.genai.search_prompts
    here = f"name LIKE '{start}-%'"
    assert named(found(here)) == [f"{start}-{end}" for end in "abc"]
    assert named(found(f"{here} AND tags.k = 'x'")) == [f"{start}-a", f"{start}-c"]
    assert named(found(f"name = '{start}-b'")) == [f"{start}-b"]
    assert named(found(f"name ILIKE '{start.upper()}-B'")) == [f"{start}-b"]
    assert named(found(f"{here} AND experiment_id = '0'")) == named(found(here))
    assert named(found(f"{here} AND experiment_id = '7'")) == []
    (first, *_) = found(here)
    assert (first.description or "", first.tags["k"]) == ("", "x")
    assert IS_PROMPT not in first.tags


@CASES.case
def prompts_are_searched_in_an_order_and_in_pages(world: World) -> None:
    start, client = world.name(), world.client
    for end in "abc":
        client.create_prompt(f"{start}-{end}")
    seen, token = [], None
    while True:
        page = client.search_prompts(
            f"name LIKE '{start}-%'",
            max_results=2,
            order_by=["name DESC"],
            page_token=token,
        )
        seen += named(page)
        token = page.token
        if not token:
            break
    assert seen == [f"{start}-{end}" for end in "cba"]


@CASES.case
def versions_of_a_prompt_are_listed_newest_first(world: World) -> None:
    name = registered(world).name
    for text in ("two", "three"):
        registered(world, name, template=text)
    found = world.client.search_prompt_versions(name)
    assert [(each.version, each.template) for each in found] == [
        *((3, "three"), (2, "two"), (1, GREETING)),
    ]
    page = world.client.search_prompt_versions(name, max_results=2)
    assert [each.version for each in page] == [3, 2]
    rest = world.client.search_prompt_versions(name, 2, page.token)
    assert [each.version for each in rest] == [1]
    assert not rest.token


@CASES.case
def searches_of_models_find_no_prompts_and_those_of_prompts_no_models(
    world: World,
) -> None:
    model, prompt = world.version().name, registered(world).name
    here = f"name IN ('{model}', '{prompt}')"
    asked = f"{here} AND tags.`{IS_PROMPT}` = 'true'"
    for path, key in (
        ("/registered-models/search", "registered_models"),
        ("/model-versions/search", "model_versions"),
    ):
        for text, name in ((here, model), (asked, prompt)):
            found = world.get(path, filter=text).document[key]
            assert [each["name"] for each in found] == [name], text
    assert named(world.client.search_registered_models(here)) == [model]
    assert named(world.client.search_model_versions(here)) == [model]


@CASES.case
def the_client_finds_no_model_in_a_prompt(world: World) -> None:
    name, client = registered(world).name, world.client
    calls: tuple[tuple[Callable[..., Any], *tuple[object, ...]], ...] = (
        (client.get_registered_model, name),
        (client.get_model_version, name, "1"),
        (client.get_latest_versions, name),
        (client.get_model_version_download_uri, name, "1"),
        (client.rename_registered_model, name, world.name()),
        (client.update_registered_model, name, "x"),
        (client.update_model_version, name, "1", "x"),
        (client.set_registered_model_tag, name, "k", "v"),
        (client.set_model_version_tag, name, "1", "k", "v"),
        (client.set_registered_model_alias, name, "best", "1"),
        (client.transition_model_version_stage, name, "1", "Staging"),
        (client.delete_model_version, name, "1"),
        (client.delete_registered_model, name),
    )
    for call, *arguments in calls:
        world.refused(NOT_THERE, call, *arguments)
    assert loaded(world, name).version == 1


@CASES.case
def a_prompt_cannot_have_the_name_of_a_model(world: World) -> None:
    name, client = world.model(), world.client
    message = world.refused(INVALID, lambda: registered(world, name))
    assert "exists with the same name" in message
    world.refused(TAKEN, client.create_prompt, name)
    body = {"name": name, "tags": [{"key": IS_PROMPT, "value": "true"}]}
    world.post("/registered-models/create", body).refuses(400, TAKEN, "already")


@CASES.case
def a_model_cannot_have_the_name_of_a_prompt(world: World) -> None:
    name = registered(world).name
    answer = world.post("/registered-models/create", {"name": name})
    answer.refuses(400, TAKEN, "rompt", "already")


@CASES.stricter(MIXED)
def a_prompt_takes_no_version_of_a_model(world: World) -> None:
    name = registered(world).name
    answer = world.post("/model-versions/create", {"name": name, "source": SOURCE})
    if world.is_mlflow:
        assert answer.status == 200
        return
    answer.refuses(400, INVALID, "is a prompt")
    world.refused(INVALID, world.module.register_model, SOURCE, name)
    assert loaded(world, name).version == 1


@CASES.stricter(MIXED)
def a_model_takes_no_version_of_a_prompt(world: World) -> None:
    name = world.model()
    answer = created(world, name, PLACEHOLDERS[0])
    if world.is_mlflow:
        assert answer.status == 200
        return
    answer.refuses(400, INVALID, "is a model")
    found = world.get("/model-versions/search", filter=f"name = '{name}'")
    assert found.document == {}


@CASES.each(PLACEHOLDERS)
def a_prompt_has_one_of_two_words_as_source(world: World, source: str) -> None:
    name = world.name("prompt")
    world.client.create_prompt(name)
    made = created(world, name, source).document["model_version"]
    assert (made["version"], made["source"]) == ("1", source)


@CASES.each(ELSEWHERE)
def a_prompt_lies_nowhere_else(world: World, source: str) -> None:
    name = world.name("prompt")
    world.client.create_prompt(name)
    answer = created(world, name, source)
    answer.refuses(400, INVALID, "Invalid prompt source")
    assert list(world.client.search_prompt_versions(name)) == []


@CASES.each(("TRUE", "True"))
def what_makes_a_prompt_may_be_written_in_any_case(world: World, value: str) -> None:
    name = world.name("prompt")
    body = {"name": name, "tags": [{"key": IS_PROMPT, "value": value}]}
    world.post("/registered-models/create", body).succeeds()
    created(world, name, PLACEHOLDERS[0], is_prompt=value).succeeds()
    created(world, name, SOURCE, is_prompt=value).refuses(400, INVALID)


@CASES.case
def what_is_tagged_as_no_prompt_is_a_model(world: World) -> None:
    name = world.name()
    tags = [{"key": IS_PROMPT, "value": "false"}]
    world.post("/registered-models/create", {"name": name, "tags": tags}).succeeds()
    created(world, name, SOURCE, is_prompt="false").succeeds()
    created(world, name, PLACEHOLDERS[0], is_prompt="false").refuses(400, INVALID)


@CASES.case
def a_prompt_without_a_text_is_taken(world: World) -> None:
    name = world.name("prompt")
    world.client.create_prompt(name)
    tags = [{"key": IS_PROMPT, "value": "true"}]
    body = {"name": name, "source": PLACEHOLDERS[0], "tags": tags}
    world.post("/model-versions/create", body).succeeds()
    world.refused(INVALID, world.client.get_prompt_version, name, "1")


@CASES.case
def a_run_of_a_prompt_is_kept_unread(world: World) -> None:
    name = world.name("prompt")
    world.client.create_prompt(name)
    body = {
        "name": name,
        "source": PLACEHOLDERS[0],
        "tags": [{"key": IS_PROMPT, "value": "true"}],
        "run_id": "no-such-run",
        "model_id": "m-none",
    }
    world.post("/model-versions/create", body).succeeds()
    assert read(world, name)["run_id"] == "no-such-run"


@CASES.each(("models:/{}/1", "models:/{}@latest", "models:/{}/latest"))
def a_model_is_no_copy_of_a_prompt(world: World, source: str) -> None:
    prompt, model = registered(world).name, world.model()
    body = {"name": model, "source": source.format(prompt)}
    answer = world.post("/model-versions/create", body)
    answer.refuses(400, INVALID, "rompt")


@CASES.case
def the_latest_versions_of_a_prompt_are_answered(world: World) -> None:
    name = registered(world).name
    registered(world, name, template="Hi")
    answer = world.post("/registered-models/get-latest-versions", {"name": name})
    assert [each["version"] for each in answer.document["model_versions"]] == ["2"]


@CASES.stricter(STAGES)
def a_prompt_has_no_stages(world: World) -> None:
    name = registered(world).name
    for stage in ("Staging", "Production", "Archived", "None"):
        body = {
            "name": name,
            "version": "1",
            "stage": stage,
            "archive_existing_versions": False,
        }
        answer = world.post("/model-versions/transition-stage", body)
        if world.is_mlflow:
            assert answer.status == 200
        else:
            answer.refuses(400, "INVALID_STATE_TRANSITION", "prompt has no stages")
            assert read(world, name)["current_stage"] == "None"


@CASES.stricter(CHANGED)
def the_text_of_a_version_stays(world: World) -> None:
    name = registered(world).name
    fields = {"name": name, "version": "1"}
    for key, value in ((TEXT, "Bye"), (TYPE, "chat"), (IS_PROMPT, "false")):
        before = read(world, name)["tags"]
        answers = [
            world.post(
                "/model-versions/set-tag", {**fields, "key": key, "value": value}
            ),
            world.delete("/model-versions/delete-tag", {**fields, "key": key}),
        ]
        for answer in answers:
            if world.is_mlflow:
                assert answer.status == 200
            else:
                answer.refuses(400, INVALID, key)
                assert read(world, name)["tags"] == before


@CASES.stricter(CHANGED)
def a_model_with_versions_does_not_become_a_prompt(world: World) -> None:
    body = {"name": world.version().name, "key": IS_PROMPT, "value": "true"}
    answer = world.post("/registered-models/set-tag", body)
    if world.is_mlflow:
        assert answer.status == 200
        return
    answer.refuses(400, INVALID, IS_PROMPT)
    assert world.client.get_registered_model(body["name"]).name == body["name"]


@CASES.stricter(CHANGED)
def a_prompt_with_versions_does_not_become_a_model(world: World) -> None:
    name = registered(world).name
    body = {"name": name, "key": IS_PROMPT}
    answer = world.delete("/registered-models/delete-tag", body)
    if world.is_mlflow:
        assert answer.status == 200
        return
    answer.refuses(400, INVALID, IS_PROMPT)
    assert loaded(world, name).version == 1


@CASES.case
def a_prompt_is_renamed_with_its_versions(world: World) -> None:
    """MLflow's client has no call for it, its server does."""
    name, other = registered(world).name, world.name("prompt")
    body = {"name": name, "new_name": other}
    world.post("/registered-models/rename", body).succeeds()
    assert loaded(world, other).template == GREETING
    assert world.client.get_prompt(name) is None


@CASES.case
def a_version_is_described_anew(world: World) -> None:
    name = registered(world, commit_message="first").name
    body = {"name": name, "version": "1", "description": "better"}
    world.patch("/model-versions/update", body).succeeds()
    assert loaded(world, name).commit_message == "better"


@CASES.case
def a_deleted_version_is_gone_and_its_number_too(world: World) -> None:
    client, name = world.client, registered(world).name
    registered(world, name, template="Hi")
    client.delete_prompt_version(name, "2")
    world.refused(NOT_THERE, lambda: loaded(world, f"prompts:/{name}/2"))
    assert loaded(world, name).version == 1
    assert registered(world, name, template="Hey").version == 3


@CASES.case
def a_prompt_is_deleted_with_its_versions(world: World) -> None:
    client, name = world.client, registered(world).name
    client.set_prompt_alias(name, "best", 1)
    client.delete_prompt(name)
    assert client.get_prompt(name) is None
    assert list(client.search_prompts(f"name = '{name}'")) == []
    world.refused(NOT_THERE, lambda: loaded(world, f"prompts:/{name}/1"))
    world.refused(NOT_THERE, client.delete_prompt, name)
    assert registered(world, name).version == 1
    assert loaded(world, name).aliases == []


@CASES.case
def a_name_may_be_a_model_once_its_prompt_is_deleted(world: World) -> None:
    name = registered(world).name
    world.client.delete_prompt(name)
    assert world.version(world.client.create_registered_model(name).name).version == "1"


@CASES.case
def the_prompts_of_a_run_are_found_by_their_tag(world: World) -> None:
    client, run = world.client, world.name("run")
    name = registered(world).name
    registered(world, name, template="Hi")
    client.set_prompt_version_tag(name, 1, RUNS, f"other,{run}")
    found = client.list_logged_prompts(run)
    assert [(each.name, each.version) for each in found] == [(name, 1)]
    client.detach_prompt_from_run(run, f"prompts:/{name}/1")
    assert list(client.list_logged_prompts(run)) == []
    tags = {tag["key"]: tag["value"] for tag in read(world, name)["tags"]}
    assert tags[RUNS] == "other"


@CASES.case
def pages_of_a_browser_register_prompts_as_well(world: World) -> None:
    name = world.name("prompt")
    prefix = PREFIX.replace("/api/", "/ajax-api/")
    tags = [{"key": IS_PROMPT, "value": "true"}, {"key": TEXT, "value": GREETING}]
    bodies = {
        "/registered-models/create": {"name": name, "tags": tags[:1]},
        "/model-versions/create": {
            "name": name,
            "source": "dummy-source",
            "tags": tags,
        },
    }
    for path, body in bodies.items():
        world.send("POST", path, prefix=prefix, json=body).succeeds()
    assert loaded(world, name).template == GREETING
