"""Random requests to the application and, beside it, to ``rules``.

A step is one request and its checks. Each example has models of its own, so that
all examples share one database and are independent all the same.
"""

import hashlib

from hypothesis import strategies as st

from tests.stateful import checks
from tests.stateful.driver import MAX_PICK, Driver, step
from tests.stateful.rules import DELETABLE, STAGES, Document, Version
from tests.stateful.tally import Tally
from tests.stateful.world import World

ARTIFACT = b"weights"
NEXT_STAGE = {"None": "Staging", "Staging": "Production", "Production": "Archived"}

model_names = st.sampled_from(["churn", "churn", "churn", "fraud"])
picks = st.integers(min_value=0, max_value=MAX_PICK)
words = st.sampled_from(["", "first", "second"])
tags = st.none() | words
aliases = st.sampled_from(["champion", "challenger"])
expectations = st.sampled_from(
    ["absent", "absent", "right", "right", "wrong", "nobody"]
)
endings = st.sampled_from(["as declared", "as declared", "otherwise", "abort"])
# Mostly what can be done next: random stories of refusals would tell little.
mostly = st.sampled_from([True, True, True, False])


class RegistryMachine(Driver):
    """One example: a few models of its own, and what the rules say of them."""

    def __init__(self, world: World, tally: Tally) -> None:
        super().__init__(world, tally)
        if tally.is_open:
            with tally.failures_noted():
                self._begin()

    @step(name=model_names, deletes=mostly, with_key=st.booleans())
    def make_anew(self, name: str, *, deletes: bool, with_key: bool) -> None:
        """Delete a model, and create one of its name: refused if it is still there.

        Only the one is deleted, so that the other grows old.
        """
        full = self.full(name)
        if deletes and name == "fraud":
            self.send(
                ("DELETE", f"/models/{full}", None),
                lambda: (204, self.registry.delete(full)),
                name=full,
                with_key=with_key,
            )
        self._create(name, with_key=with_key)

    @step(name=model_names, description=words, tag=tags, with_key=st.booleans())
    def describe_model(
        self, name: str, description: str, tag: str | None, *, with_key: bool
    ) -> None:
        full = self.full(name)
        self.send(
            ("PATCH", f"/models/{full}", described(description, tag)),
            lambda: (200, self.registry.model(full).describe(description, tag)),
            name=full,
            with_key=with_key,
        )

    @step(name=model_names, is_linked=mostly, with_key=st.booleans())
    def register(self, name: str, *, is_linked: bool, with_key: bool) -> None:
        self._register(name, is_linked=is_linked, with_key=with_key)

    @step(name=model_names, pick=picks, how=endings, with_key=st.booleans())
    def end_upload(self, name: str, pick: int, how: str, *, with_key: bool) -> None:
        number = self.number(name, pick, is_pending)
        if how == "abort":
            self._abort(name, number, with_key=with_key)
        else:
            declared = ARTIFACT if how == "as declared" else b"another"
            self._upload(name, number, declared, with_key=with_key)

    @step(
        name=model_names,
        pick=picks,
        to_stage=st.sampled_from(STAGES),
        expectation=expectations,
        with_key=st.booleans(),
    )
    def move_anywhere(
        self,
        name: str,
        pick: int,
        to_stage: str,
        expectation: str,
        *,
        with_key: bool,
    ) -> None:
        number = self.number(name, pick)
        self._move((name, number, to_stage), expectation, with_key=with_key)

    @step(
        name=model_names, pick=picks, expectation=expectations, with_key=st.booleans()
    )
    def move_on(
        self, name: str, pick: int, expectation: str, *, with_key: bool
    ) -> None:
        """To the next stage: what random moves would seldom do twice in a row."""
        number = self.number(name, pick, can_move_on)
        model = self.registry.models.get(self.full(name))
        found = model.versions.get(number) if model else None
        to_stage = NEXT_STAGE.get(found.stage, "Production") if found else "Staging"
        self._move((name, number, to_stage), expectation, with_key=with_key)

    @step(
        name=model_names,
        pick=picks,
        goes_back=st.booleans(),
        expectation=expectations,
        with_key=st.booleans(),
    )
    def serve(
        self,
        name: str,
        pick: int,
        expectation: str,
        *,
        goes_back: bool,
        with_key: bool,
    ) -> None:
        """Put a candidate into Production, or what served before."""
        if goes_back:
            self._rollback(name, None, with_key=with_key)
        else:
            move = (name, self.number(name, pick, is_staged), "Production")
            self._move(move, expectation, with_key=with_key)

    @step(name=model_names, pick=picks, with_key=st.booleans())
    def roll_back_to_a_version(self, name: str, pick: int, *, with_key: bool) -> None:
        number = self.number(name, pick, is_archived)
        self._rollback(name, number, with_key=with_key)

    @step(
        name=model_names,
        alias=aliases,
        pick=picks,
        is_set=mostly,
        with_key=st.booleans(),
    )
    def change_alias(
        self, name: str, alias: str, pick: int, *, is_set: bool, with_key: bool
    ) -> None:
        full, number = self.full(name), self.number(name, pick, is_alive)
        path = f"/models/{full}/aliases/{alias}"
        if is_set:
            self.send(
                ("PUT", path, {"version": number}),
                lambda: (200, self.registry.model(full).set_alias(alias, number)),
                name=full,
                with_key=with_key,
            )
        else:
            self.send(
                ("DELETE", path, None),
                lambda: (204, self.registry.model(full).delete_alias(alias)),
                name=full,
                with_key=with_key,
            )

    @step(
        name=model_names,
        pick=picks,
        description=words,
        tag=tags,
        with_key=st.booleans(),
    )
    def describe_version(
        self,
        name: str,
        pick: int,
        description: str,
        tag: str | None,
        *,
        with_key: bool,
    ) -> None:
        full, number = self.full(name), self.number(name, pick, is_alive)
        body = described(description, tag)
        self.send(
            ("PATCH", f"/models/{full}/versions/{number}", body),
            lambda: (
                200,
                self.registry.model(full).describe_version(number, description, tag),
            ),
            name=full,
            with_key=with_key,
        )

    @step(name=model_names, pick=picks, with_key=st.booleans())
    def delete_version(self, name: str, pick: int, *, with_key: bool) -> None:
        full, number = self.full(name), self.number(name, pick, is_deletable)
        self.send(
            ("DELETE", f"/models/{full}/versions/{number}", None),
            lambda: (204, self.registry.model(full).delete_version(number)),
            name=full,
            with_key=with_key,
        )

    @step(pick=picks, is_same=mostly)
    def retry(self, pick: int, *, is_same: bool) -> None:
        """An idempotency key again: the same answer and no second effect.

        With another request it is refused.
        """
        if not self.keyed:
            return
        first = self.keyed[pick % len(self.keyed)]
        if is_same:
            answer = self.open(first.method, first.path, first.body, first.key)
            assert answer.headers.get("Idempotent-Replayed") == "true", answer.text
            assert (answer.status_code, answer.text) == (first.status, first.text)
        else:
            body = {"name": f"other-{self.example}", "description": first.key}
            answer = self.open("POST", "/models", body, first.key)
            assert answer.status_code == 422, answer.text
            assert answer.get_json()["type"].endswith(":idempotency-mismatch")
        for name in self.registry.models:
            checks.check_model(self.world, self.registry, name)

    def _begin(self) -> None:
        """Something to work on: an example may do without the rules that make it."""
        self._create("fraud", with_key=False)
        self._create("churn", with_key=False)
        for is_linked in (True, True, True, True, False):
            self._register("churn", is_linked=is_linked, with_key=False)
        for number in (3, 1, 2):  # who entered last is not who came last
            self._move(("churn", number, "Staging"), "absent", with_key=False)

    def _register(self, name: str, *, is_linked: bool, with_key: bool) -> None:
        full = self.full(name)
        body = {"source": f"s3://elsewhere/{full}"} if is_linked else {}
        self.send(
            ("POST", f"/models/{full}/versions", body),
            lambda: (201, self.registry.model(full).register(is_linked=is_linked)),
            name=full,
            with_key=with_key,
        )

    def _create(self, name: str, *, with_key: bool) -> None:
        full = self.full(name)
        self.send(
            ("POST", "/models", {"name": full}),
            lambda: (201, self.registry.create(full)),
            name=full,
            with_key=with_key,
        )

    def _move(
        self, move: tuple[str, int, str], expectation: str, *, with_key: bool
    ) -> None:
        name, number, to_stage = move
        full = self.full(name)
        expected = self._expected_incumbent(full, to_stage, expectation)
        self.send(
            (
                "POST",
                f"/models/{full}/versions/{number}/transitions",
                {"to_stage": to_stage, "reason": expectation, **expected},
            ),
            lambda: (200, self.registry.model(full).move(number, to_stage, expected)),
            name=full,
            with_key=with_key,
        )

    def _rollback(self, name: str, number: int | None, *, with_key: bool) -> None:
        full = self.full(name)
        body = {} if number is None else {"to_version": number}
        self.send(
            ("POST", f"/models/{full}/rollback", {"reason": "worse", **body}),
            lambda: (200, self.registry.model(full).rollback(number)),
            name=full,
            with_key=with_key,
        )

    def _upload(
        self, name: str, number: int, declared: bytes, *, with_key: bool
    ) -> None:
        """Upload, and declare what was uploaded, or something else."""
        full = self.full(name)
        path = f"/models/{full}/versions/{number}"
        upload = self.client.put(f"/api/v1{path}/artifacts/model.bin", data=ARTIFACT)
        assert upload.status_code in {201, 404, 409, 422}, upload.text
        file = {
            "path": "model.bin",
            "size_bytes": len(declared),
            "sha256": hashlib.sha256(declared).hexdigest(),
        }
        is_as_declared = declared == ARTIFACT
        self.send(
            ("POST", f"{path}/finalize", {"files": [file]}),
            lambda: (
                200,
                self.registry.model(full).finish_upload(
                    number, is_as_declared=is_as_declared
                ),
            ),
            name=full,
            with_key=with_key,
        )

    def _abort(self, name: str, number: int, *, with_key: bool) -> None:
        full = self.full(name)
        self.send(
            ("POST", f"/models/{full}/versions/{number}/abort", {"reason": "gave up"}),
            lambda: (200, self.registry.model(full).abort(number)),
            name=full,
            with_key=with_key,
        )

    def _expected_incumbent(self, name: str, stage: str, expectation: str) -> Document:
        model = self.registry.models.get(name)
        holder = model.holder(stage) if model else None
        expected: dict[str, Document] = {
            "absent": {},
            "right": {"expected_incumbent": holder},
            "wrong": {"expected_incumbent": (holder or 0) + 1},
            "nobody": {"expected_incumbent": None},
        }
        return expected[expectation]


def can_move_on(version: Version) -> bool:
    return version.status == "READY" and version.stage in NEXT_STAGE


def is_alive(version: Version) -> bool:
    return not version.is_deleted


def is_staged(version: Version) -> bool:
    return version.stage == "Staging"


def is_pending(version: Version) -> bool:
    return version.status == "PENDING_REGISTRATION"


def is_archived(version: Version) -> bool:
    return version.stage == "Archived"


def is_deletable(version: Version) -> bool:
    return version.stage in DELETABLE


def described(description: str, tag: str | None) -> Document:
    """The body of a PATCH; a tag of None removes it."""
    return {"description": description, "tags": {"team": tag}}
