"""What a chain of the audit log says that the tables hold, and where they differ.

Rules:

- The entries are folded, one after the other, into the state that they imply: the
  model's name, its living versions and aliases; of the system's chain, tokens, roles
  and trusted publishers.
- The tokens of CI jobs are removed some time after their end; an entry says up to which
  end. Those of a publisher end with it.
- An entry that registers or moves versions implies lines of the model's history, in
  their order. Of lines that differ the first is named.
- What an entry does not say is not compared: the former releases' say less. They left
  out where a superseded version went, until its next entry.
- Addresses are not compared: an operator may have moved the artifacts, and their
  digests say what they hold.

Pure: whoever reads the tables hands their rows over, which are read when it is their
turn. A model's living versions are held in memory, its history is not.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from types import MappingProxyType
from typing import Any

from registry.domain import prompts
from registry.domain.audit_chain import Damage, DamageKind, SealedEntry
from registry.domain.policy import Cause

Members = Mapping[str, Any]
#: What a row is about: a kind of ``_TABLES``, and which one: a number, a name, an id.
Subject = tuple[str, Any]
State = dict[Subject, dict[str, Any]]

_TABLES = {
    "model": "registered_models",
    "version": "model_versions",
    "alias": "aliases",
    "token": "tokens",
    "publisher": "trusted_publishers",
    "binding": "role_bindings",
}
_HISTORY = "stage_changes"
_OF_VERSION = ("stage", "status", "artifact_digest", "artifact_size_bytes")
#: What a token was before there was more: as the former releases' entries mean it.
_PLAIN_TOKEN = {
    "models": "*",
    "scopes": None,
    "kind": "token",
    "owner": "",
    "publisher_id": None,
    "on_behalf_of": None,
}
_OF_TOKEN = (
    *("name", "role", *_PLAIN_TOKEN),
    *("created_by", "expires_at", "revoked_at"),
)
_OF_PUBLISHER = (
    *("provider", "name", "issuer", "claims"),
    *("role", "models", "created_by"),
)
_OF_BINDING = ("subject_kind", "subject", "role", "models", "created_by")
#: What a text raises that no release of ours wrote: nothing is known from it.
_NOT_OURS = (KeyError, TypeError, AttributeError)


class TableComparison:
    """Holds the tables against one chain (``audit_chain.Comparison``).

    Args:
        chain: its name.
        history: the model's history, as ``fold`` implies it.
        rows: what the tables hold now, by subject.
    """

    def __init__(
        self,
        chain: str,
        history: Iterable[Members],
        rows: Iterable[tuple[Subject, Members]],
    ) -> None:
        self._chain = chain
        self._history = iter(history)
        self._rows = rows
        self._state: State = {}
        self._model = chain
        self._lines = self._last = 0
        self._difference: Damage | None = None

    def take(self, entry: SealedEntry) -> None:
        """Fold an entry, and compare the lines of history that it implies."""
        self._last, text = entry.n, entry.text
        try:
            lines = fold(self._state, text)
            self._model = text["model"] or self._model
        except _NOT_OURS:
            return
        for line in lines:
            self._compare_line(entry.n, line)

    def differences(self) -> Iterator[Damage]:
        """Where history and rows differ from what the chain implies."""
        line = None if self._difference else next(self._history, None)
        if line:
            what = f"by {_HISTORY} it entered {line['to_stage']}, by the log it did not"
            self._difference = self._of_line(self._last, line, what)
        if self._difference:
            yield self._difference
        model = self._state.get(("model", self._chain.removeprefix("model:")), {})
        for subject, row in self._rows:
            said = self._state.pop(subject, None)
            if said is None:
                what = f"by {_TABLES[subject[0]]} it is there, by the log it is not"
                yield self._of_row(self._last, subject, row, what)
                continue
            if subject[0] == "version":
                said["model_name"] = model.get("name")
            for what in _differences(said, row, _TABLES[subject[0]]):
                yield self._of_row(said["entry"], subject, row, what)
        for subject, said in self._state.items():
            what = f"by the log it is there, by {_TABLES[subject[0]]} it is not"
            yield self._of_row(said["entry"], subject, said, what)

    def _compare_line(self, n: int, line: Members) -> None:
        self._lines += 1
        if self._difference:
            return
        said = {"sequence": self._lines, **line}
        row = next(self._history, None)
        if row is None or row["sequence"] > self._lines:
            entered = line.get("to_stage", "another stage")
            what = f"by the log it entered {entered}, by {_HISTORY} it did not"
            self._difference = self._of_line(n, said, what)
        else:
            for what in islice(_differences(said, row, _HISTORY), 1):
                self._difference = self._of_line(n, said, what)

    def _of_line(self, n: int, line: Members, what: str) -> Damage:
        place = f"version {line['number']} of {self._model}, line {line['sequence']}"
        return self._damage(n, f"{place}: {what}")

    def _of_row(self, n: int, subject: Subject, members: Members, what: str) -> Damage:
        kind, key = subject
        names = {
            "token": f"token {key} ({members.get('name')})",
            "binding": f"role binding {key} ({members.get('subject')})",
            "publisher": f"trusted publisher {key} ({members.get('name')})",
            "model": f"model {self._model}",
        }
        place = names.get(kind, f"{kind} {key} of {self._model}")
        return self._damage(n, f"{place}: {what}")

    def _damage(self, n: int, message: str) -> Damage:
        kind = DamageKind.CONTRADICTED
        return Damage(chain=self._chain, n=n, kind=kind, message=message)


def _differences(said: Members, row: Members, table: str) -> Iterator[str]:
    for name, value in row.items():
        if name in said and said[name] != value:
            yield f"by the log its {name} is {said[name]}, by {table} {value}"


def fold(state: State, text: Members) -> Sequence[Members]:
    """Change the state as an entry says; return the lines of history that it implies.

    Raises:
        KeyError, TypeError, AttributeError: when the text is not an entry's.
    """
    change = _CHANGES.get(text["action"])
    return change(state, text) or () if change else ()


def _name_model(state: State, text: Members) -> None:
    model = ("model", text["chain"].removeprefix("model:"))
    state[model] = {"entry": text["n"], "name": text["after"]["name"]}


def _delete_model(state: State, _: Members) -> None:
    state.clear()


def _describe_version(state: State, text: Members) -> None:
    after = text["after"]
    subject = ("version", text["version"])
    artifact = _artifact(state.get(subject, {}), after)
    state[subject] = {"entry": text["n"], **_kept(after, *_OF_VERSION), **artifact}


def _register_version(state: State, text: Members) -> Sequence[Members]:
    _describe_version(state, text)
    after = text["after"]
    moved = {"from_stage": None, "to_stage": after["stage"]}
    return [_line(text, text["version"], moved, after, cause=Cause.REGISTRATION)]


def _delete_version(state: State, text: Members) -> None:
    del state["version", text["version"]]
    for alias in text["before"]["aliases"]:
        del state["alias", alias]


def _move_versions(state: State, text: Members) -> Sequence[Members]:
    """Incumbents first; where room was only made, the version itself stayed."""
    after, lines = text["after"], []
    for number in after["superseded"]:
        said = state["version", number]
        moved = {"from_stage": said.pop("stage")} if "stage" in said else {}
        if "superseded_to" in after:
            moved["to_stage"] = said["stage"] = after["superseded_to"]
        said["entry"] = text["n"]
        lines.append(_line(text, number, moved, cause=Cause.SUPERSEDED))
    number = text["version"]
    if text["cause"] != Cause.SUPERSEDED:
        said = state["version", number]
        said.update(entry=text["n"], stage=after["stage"], **_artifact(said, text))
        moved = {"from_stage": text["before"]["stage"], "to_stage": after["stage"]}
        lines.append(_line(text, number, moved, text, cause=text["cause"]))
    return lines


def _change_artifact(state: State, text: Members) -> None:
    said = state["version", text["version"]]
    said.update(entry=text["n"], artifact_state="changed")


def _set_alias(state: State, text: Members) -> None:
    after = text["after"]
    number = after["version"]
    said = {"entry": text["n"], "number": number, "number_by_id": number}
    state["alias", after["alias"]] = said


def _delete_alias(state: State, text: Members) -> None:
    del state["alias", text["before"]["alias"]]


def _keep_token(state: State, text: Members) -> None:
    after = text["after"]
    said = _kept({**_PLAIN_TOKEN, **after}, *_OF_TOKEN)
    state["token", after["id"]] = {"entry": text["n"], **said}


def _remove_ci_tokens(state: State, text: Members) -> None:
    last = text["after"]["ended_until"]
    for subject, said in _ci_tokens(state):
        if said["expires_at"] <= last:
            del state[subject]


def _create_publisher(state: State, text: Members) -> None:
    after = text["after"]
    said = _kept(after, *_OF_PUBLISHER)
    state["publisher", after["id"]] = {"entry": text["n"], **said}


def _delete_publisher(state: State, text: Members) -> None:
    publisher_id = text["before"]["id"]
    del state["publisher", publisher_id]
    for _, said in _ci_tokens(state):
        is_live = said["revoked_at"] is None and said["expires_at"] > text["at"]
        if said["publisher_id"] == publisher_id and is_live:
            said.update(entry=text["n"], revoked_at=text["at"])


def _ci_tokens(state: State) -> list[tuple[Subject, dict[str, Any]]]:
    return [
        (subject, said)
        for subject, said in state.items()
        if subject[0] == "token" and said["kind"] == "ci"
    ]


def _grant_role(state: State, text: Members) -> None:
    after = text["after"]
    said = _kept(after, *_OF_BINDING)
    state["binding", after["id"]] = {"entry": text["n"], **said}


def _revoke_role(state: State, text: Members) -> None:
    del state["binding", text["before"]["id"]]


def _artifact(before: Members, said: Members) -> Members:
    """The state of an artifact; one that has changed is not verified either."""
    if "verified" not in said:
        return {}
    if said["verified"]:
        return {"artifact_state": "verified"}
    is_changed = before.get("artifact_state") == "changed"
    return {"artifact_state": "changed" if is_changed else "unverified"}


def _line(
    text: Members,
    number: int,
    moved: Members,
    said: Members = MappingProxyType({}),
    *,
    cause: str,
) -> Members:
    """A line of history; ``said`` may say whether the artifact was as registered."""
    actor = text["actor"]
    return {
        "number": number,
        "number_by_id": number,
        **moved,
        "cause": cause,
        "reason": text["reason"],
        "actor_kind": actor["kind"],
        "actor_name": actor["name"],
        "at": text["at"],
        **_kept(text, "transition_id"),
        **_kept(said, "verified"),
    }


def _kept(said: Members, *names: str) -> dict[str, Any]:
    """Of the members of that name those that are said."""
    return {name: said[name] for name in names if name in said}


_Change = Callable[[State, Members], Sequence[Members] | None]
_OF_MODELS: Mapping[str, _Change] = {
    "registered_model.created": _name_model,
    "registered_model.updated": _name_model,
    "registered_model.renamed": _name_model,
    "registered_model.deleted": _delete_model,
    "model_version.registered": _register_version,
    "model_version.updated": _describe_version,
    "model_version.deleted": _delete_version,
    "model_version.stage_changed": _move_versions,
    "model_version.artifact_changed": _change_artifact,
    "model_version.alias_set": _set_alias,
    "model_version.alias_deleted": _delete_alias,
}
_CHANGES: Mapping[str, _Change] = {
    **_OF_MODELS,
    **{prompts.event_type(action): change for action, change in _OF_MODELS.items()},
    "token.created": _keep_token,
    "token.revoked": _keep_token,
    "token.exchanged": _keep_token,
    "token.removed": _remove_ci_tokens,
    "publisher.created": _create_publisher,
    "publisher.deleted": _delete_publisher,
    "role.granted": _grant_role,
    "role.revoked": _revoke_role,
}
