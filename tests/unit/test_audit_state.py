"""What a chain implies of the tables, and that what differs is named.

That everything which is done through the API implies what is there is shown by the
stateful test, and by the table of mutations.
"""

from collections.abc import Sequence
from typing import Any

import pytest

from registry.domain.audit_chain import Chain, DamageKind, Head, seal, verify_chains
from registry.domain.audit_state import Members, Subject, TableComparison

CHAIN = "model:a1"
ACTOR = {"kind": "token", "name": "ci", "role": "promoter"}
AT = "2026-11-20T12:00:00.000000Z"

Entry = dict[str, Any]
Rows = dict[Subject, dict[str, Any]]


def entry(action: str, version: int | None = None, **members: object) -> Entry:
    common = {"at": AT, "actor": ACTOR, "model": "fraud", "version": version}
    return {"action": action, **common, "before": None, "reason": "", **members}


def described(number: int, action: str = "registered", **members: object) -> Entry:
    after = {"stage": "None", "status": "READY", "verified": True} | members
    before: Entry = {"aliases": []}
    return entry(f"model_version.{action}", number, before=before, after=after)


def moved(number: int, old: str, new: str, *aside: int, **members: object) -> Entry:
    after = {"stage": new, "superseded": list(aside)}
    if aside:
        after["superseded_to"] = "Archived"
    return entry(
        "model_version.stage_changed",
        number,
        before={"stage": old},
        after=after,
        **{"cause": "promotion", "transition_id": "trn_1", "verified": True} | members,
    )


def alias(number: int, name: str = "champion") -> Entry:
    after = {"alias": name, "version": number}
    return entry("model_version.alias_set", number, after=after)


def line(number: int, old: str | None, new: str, **members: object) -> Entry:
    return {
        "number": number,
        "number_by_id": number,
        "from_stage": old,
        "to_stage": new,
        "cause": "promotion" if old else "registration",
        "actor_name": "ci",
        "at": AT,
    } | members


CREATED = entry("registered_model.created", after={"name": "fraud"})
ENTRIES = [
    CREATED,
    described(1, artifact_digest="sha256:a"),
    described(2),
    moved(1, "None", "Production"),
    moved(2, "None", "Production", 1),
    alias(2),
    entry("model_version.commented", 2),
]
HISTORY = [
    line(1, None, "None"),
    line(2, None, "None", transition_id="trn_0"),
    line(1, "None", "Production", verified=True),
    line(1, "Production", "Archived", cause="superseded", verified=False),
    line(2, "None", "Production", transition_id="trn_1"),
]
ROWS: Rows = {
    ("model", "a1"): {"name": "fraud"},
    ("version", 1): {
        "model_name": "fraud",
        "stage": "Archived",
        "artifact_digest": "sha256:a",
    },
    ("version", 2): {"model_name": "fraud", "stage": "Production", "status": "READY"},
    ("alias", "champion"): {"number": 2, "number_by_id": 2},
}


def differences(
    entries: Sequence[Members] = ENTRIES,
    rows: Rows | None = None,
    history: Sequence[Members] | None = None,
    *,
    chain: str = CHAIN,
) -> list[tuple[DamageKind, int, str]]:
    sealed, head = [], None
    for text in entries:
        sealed.append(seal(chain, head, text))
        head = Head(chain=chain, n=sealed[-1].n, hash=sealed[-1].hash)
    numbered = [
        {"sequence": sequence, **each}
        for sequence, each in enumerate(HISTORY if history is None else history, 1)
    ]
    rows = ROWS if rows is None else rows
    comparison = TableComparison(chain, numbered, rows.items())
    whole = Chain(name=chain, entries=sealed, head=head, comparison=comparison)
    damage = verify_chains([whole]).damage
    assert {each.chain for each in damage} <= {chain}
    return [(each.kind, each.n, each.message) for each in damage]


def only(found: list[tuple[DamageKind, int, str]]) -> tuple[int, str]:
    ((kind, n, message),) = found
    assert kind is DamageKind.CONTRADICTED
    return n, message


def test_tables_that_hold_what_the_chain_says_differ_nowhere() -> None:
    assert differences() == []


@pytest.mark.parametrize(
    ("subject", "member", "value", "expected"),
    [
        (("version", 1), "stage", "Production",
         (5, ("version 1 of fraud: by the log its stage is Archived, by model_versions "
             "Production"))),
        (("version", 1), "artifact_digest", "sha256:b",
         (5, ("version 1 of fraud: by the log its artifact_digest is sha256:a, by "
             "model_versions sha256:b"))),
        (("version", 2), "model_name", "other",
         (5, ("version 2 of fraud: by the log its model_name is fraud, by "
             "model_versions other"))),
        (("alias", "champion"), "number", 1,
         (6, "alias champion of fraud: by the log its number is 2, by aliases 1")),
        (("alias", "champion"), "number_by_id", None,
         (6, ("alias champion of fraud: by the log its number_by_id is 2, by aliases "
             "None"))),
        (("model", "a1"), "name", "other",
         (1, "model fraud: by the log its name is fraud, by registered_models other")),
    ],
)  # fmt: skip
def test_an_edited_row_is_named_with_the_entry_that_told_of_it_last(
    subject: Subject, member: str, value: object, expected: tuple[int, str]
) -> None:
    edited = {**ROWS, subject: {**ROWS[subject], member: value}}

    assert only(differences(rows=edited)) == expected


def test_a_row_too_many_and_one_too_few_are_named() -> None:
    more = {**ROWS, ("alias", "new"): {"version": 1}}
    fewer = {key: row for key, row in ROWS.items() if key != ("version", 2)}

    assert only(differences(rows=more)) == (
        7, "alias new of fraud: by aliases it is there, by the log it is not",
    )  # fmt: skip
    assert only(differences(rows=fewer)) == (
        5, "version 2 of fraud: by the log it is there, by model_versions it is not",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("history", "expected"),
    [
        ([*HISTORY[:2], {**HISTORY[2], "to_stage": "Staging"}, *HISTORY[3:]],
         (4, ("version 1 of fraud, line 3: by the log its to_stage is Production, by "
             "stage_changes Staging"))),
        (HISTORY[:-1],
         (5, ("version 2 of fraud, line 5: by the log it entered Production, "
             "by stage_changes it did not"))),
        ([*HISTORY[:2], {**HISTORY[2], "sequence": 4}],
         (4, ("version 1 of fraud, line 3: by the log it entered Production, "
             "by stage_changes it did not"))),
        ([*HISTORY, line(1, "Archived", "Production")],
         (7, ("version 1 of fraud, line 6: by stage_changes it entered Production, by "
             "the log it did not"))),
    ],
)  # fmt: skip
def test_the_first_line_of_history_that_differs_is_named(
    history: Sequence[Members], expected: tuple[int, str]
) -> None:
    assert only(differences(history=history)) == expected


def test_a_former_release_did_not_say_where_a_superseded_version_went() -> None:
    said = moved(2, "None", "Production", 1)
    former = {**said, "after": {"stage": "Production", "superseded": [1]}}
    elsewhere = {**HISTORY[3], "to_stage": "Shadow"}
    entries = [*ENTRIES[:4], former, alias(2)]
    history = [*HISTORY[:3], elsewhere, HISTORY[4]]
    rows = {**ROWS, ("version", 1): {"stage": "Shadow"}}
    superseded_again = [
        moved(2, "Production", "Production", 1, cause="superseded"),
        moved(1, "Archived", "Production", 2),
    ]

    assert differences(entries, rows, history) == []
    assert only(differences(entries, rows, history[:3])) == (
        5, ("version 1 of fraud, line 4: by the log it entered another stage, "
           "by stage_changes it did not"),
    )  # fmt: skip
    assert differences(
        [*entries, *superseded_again],
        {
            **ROWS,
            ("version", 1): {"stage": "Production"},
            ("version", 2): {"stage": "Archived"},
        },
        [
            *history,
            line(1, "Shadow", "Archived", cause="superseded"),
            line(2, "Production", "Archived", cause="superseded"),
            line(1, "Archived", "Production"),
        ],
    ) == []  # fmt: skip


def test_what_an_entry_does_not_say_is_not_compared() -> None:
    former = entry("model_version.registered", 1, after={"stage": "None"})
    rows: Rows = {
        ("model", "a1"): {"name": "fraud"},
        ("version", 1): {"artifact_state": "changed", "status": "READY"},
    }

    assert differences([CREATED, former], rows, [HISTORY[0]]) == []


@pytest.mark.parametrize(
    ("entries", "state"),
    [
        ([described(1)], "verified"),
        ([described(1, verified=False)], "unverified"),
        ([described(1), entry("model_version.artifact_changed", 1)], "changed"),
        ([described(1), entry("model_version.artifact_changed", 1),
          described(1, "updated", verified=False)], "changed"),
        ([described(1), entry("model_version.artifact_changed", 1),
          described(1, "updated", verified=True)], "verified"),
    ],
)  # fmt: skip
def test_an_artifact_that_has_changed_stays_so_until_it_is_verified(
    entries: list[Entry], state: str
) -> None:
    rows: Rows = {
        ("model", "a1"): {"name": "fraud"},
        ("version", 1): {"artifact_state": state},
    }

    assert differences([CREATED, *entries], rows, HISTORY[:1]) == []


def test_what_was_deleted_or_renamed_is_expected_nowhere() -> None:
    aliases = [alias(1), alias(2), alias(2, "old")]
    gone = [
        entry("model_version.alias_deleted", 2, before={"alias": "old", "version": 2}),
        entry("model_version.deleted", 1, before={"aliases": ["champion-1"]}),
        entry("registered_model.renamed", after={"name": "risk"}) | {"model": "risk"},
    ]
    aliases[0]["after"]["alias"] = "champion-1"
    entries = [CREATED, described(1), described(2), *aliases, *gone]
    rows: Rows = {
        ("model", "a1"): {"name": "risk"},
        ("version", 2): {"model_name": "risk"},
        ("alias", "champion"): {"number": 2},
    }
    deleted = entry("registered_model.deleted", before={})

    assert differences(entries, rows, HISTORY[:2]) == []
    assert differences([*entries, deleted], {}, HISTORY[:2]) == []
    undeleted: Rows = {("model", "a1"): {}}
    assert only(differences([*entries, deleted], undeleted, HISTORY[:2])) == (
        10, "model fraud: by registered_models it is there, by the log it is not",
    )  # fmt: skip


def test_prompts_are_told_of_in_their_own_words() -> None:
    entries = [
        entry("prompt.created", after={"name": "greet"}),
        {**described(1), "action": "prompt_version.created"},
    ]
    rows: Rows = {
        ("model", "a1"): {"name": "greet"},
        ("version", 1): {"stage": "None", "model_name": "greet"},
    }

    assert differences(entries, rows, HISTORY[:1]) == []


def test_tokens_are_held_against_what_was_said_of_them() -> None:
    document = {"id": "t1", "name": "ci", "role": "viewer", "revoked_at": None}
    made = entry("token.created", after=document) | {"model": None}
    gone = entry("token.revoked", after={**document, "revoked_at": AT})
    row = ("token", "t1")

    def found(rows: Rows) -> list[tuple[DamageKind, int, str]]:
        entries = [made, gone | {"model": None}]
        return differences(entries, rows, [], chain="system")

    assert found({row: {**document, "revoked_at": AT, "last_used_at": AT}}) == []
    assert only(found({row: {**document, "revoked_at": AT, "role": "admin"}})) == (
        2, "token t1 (ci): by the log its role is viewer, by tokens admin",
    )  # fmt: skip
    assert only(found({row: document})) == (
        2, f"token t1 (ci): by the log its revoked_at is {AT}, by tokens None",
    )  # fmt: skip
    assert only(found({})) == (
        2, "token t1 (ci): by the log it is there, by tokens it is not",
    )  # fmt: skip


def test_tokens_of_ci_jobs_end_with_their_publisher_and_go_once_they_have_ended() -> (
    None
):
    trusted = {"id": "p1", "name": "train"}
    other = {"id": "p2", "name": "other"}
    first, second = "2026-11-20T12:05:00Z", "2026-11-20T12:15:00Z"

    def given(token: str, publisher: str, end: str) -> Members:
        document = {"id": token, "name": token, "role": "writer", "kind": "ci"}
        kept = {"publisher_id": publisher, "expires_at": end, "revoked_at": None}
        return entry("token.created", after={**document, **kept}) | {"model": None}

    entries = [
        *(entry("publisher.created", after=of) for of in (trusted, other)),
        *(
            given("t1", "p1", first),
            given("t2", "p1", second),
            given("t3", "p2", second),
        ),
        entry("publisher.deleted", before=trusted) | {"at": "2026-11-20T12:10:00Z"},
        entry("token.removed", after={"ended_until": first}),
    ]
    of_system = [{**each, "model": None} for each in entries]
    left = {"name": "t2", "role": "writer", "publisher_id": "p1", "kind": "ci"}
    rows: Rows = {
        ("publisher", "p2"): other,
        ("token", "t2"): {**left, "revoked_at": "2026-11-20T12:10:00Z"},
        ("token", "t3"): {
            **left,
            "name": "t3",
            "publisher_id": "p2",
            "revoked_at": None,
        },
    }

    assert differences(of_system, rows, [], chain="system") == []


@pytest.mark.parametrize(
    "text",
    [
        {},
        entry("model_version.registered", 1, after=None),
        entry("model_version.deleted", 7, before={"aliases": []}),
        entry("registered_model.created", after=[]),
    ],
)
def test_an_entry_that_is_none_of_ours_tells_nothing(text: Members) -> None:
    rows: Rows = {("model", "a1"): {"name": "fraud"}}

    assert differences([CREATED, text], rows, []) == []
