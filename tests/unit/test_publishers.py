"""Which CI jobs a trusted publisher stands for, and what is kept of one."""

from datetime import UTC, datetime, timedelta

import pytest

from registry.domain.ci_jobs import MAX_CHARACTERS, jti_sha256, on_behalf_of
from registry.domain.publishers import (
    JobProvider,
    algorithms_of,
    checked_members,
    job_claims,
    place_of,
    publisher_of,
    usual_issuer,
)
from registry.domain.rows import PublisherRow
from registry.errors import InvalidInputError, NotSignedInError
from tests.ci_jobs import ASKED, Claims, claims_of

ISSUERS = {
    "github": "https://token.actions.githubusercontent.com",
    "gitlab": "https://gitlab.example.com:8443/git",
    "kubernetes": "https://cluster.example.com",
}
#: What a publisher may ask beside what it must, fulfilled by the right claims.
MORE = {
    "github": {
        "repository_id": "4711",
        "environment": "Registry",
        "ref": "refs/heads/main",
    },
    "gitlab": {
        "namespace_id": "72",
        "config": ".gitlab-ci.yml",
        "environment": "registry",
        "ref": "refs/heads/main",
    },
    "kubernetes": {"uid": "14ee3fa4-a7e2-420f-9f9a-dbc4507c3798"},
}
MADE_AT = datetime(2026, 11, 20, tzinfo=UTC)
PROVIDERS = pytest.mark.parametrize("provider", ["github", "gitlab", "kubernetes"])


def row(provider: str, name: str = "training", **asked: str) -> PublisherRow:
    claims = {**ASKED[provider], **asked}
    return PublisherRow(
        id=name,
        provider=provider,
        name=name,
        issuer=ISSUERS[provider],
        place=place_of(JobProvider(provider), claims),
        claims=claims,
        role="writer",
        models="*",
        created_at=MADE_AT,
        created_by="ann",
    )


def right(provider: str, **changes: object) -> Claims:
    """The claims of a verified token, with some changed; None leaves one out."""
    issuer = ISSUERS[provider]
    claims = {"iss": issuer, "aud": "us", **claims_of(provider, issuer), **changes}
    return {name: value for name, value in claims.items() if value is not None}


def publisher(provider: str, claims: Claims, *rows: PublisherRow) -> PublisherRow:
    """Which of the publishers of its place the job is."""
    found = job_claims(JobProvider(provider), claims)
    place = place_of(JobProvider(provider), found)
    of_place = [each for each in rows if each.place == place]
    return publisher_of(of_place, found)


@PROVIDERS
def test_what_is_said_of_jobs_is_checked(provider: str) -> None:
    kind, said = JobProvider(provider), ASKED[provider]
    name = next(iter(said))

    assert checked_members(kind, said) == said
    for wrong, field in (
        ({**said, "colour": "red"}, "colour"),
        ({key: value for key, value in said.items() if key != name}, name),
        ({**said, name: "a b"}, name),
    ):
        with pytest.raises(InvalidInputError) as refusal:
            checked_members(kind, wrong)
        assert refusal.value.field == f"claims.{field}"


@PROVIDERS
def test_job_is_the_publisher_that_asks_for_it(provider: str) -> None:
    claims = right(provider, of_tomorrow="unknown", another={"a": 1})

    assert publisher(provider, claims, row(provider)) == row(provider)
    strict = row(provider, **MORE[provider])
    assert publisher(provider, claims, strict) == strict


@pytest.mark.parametrize(
    ("provider", "changes"),
    [
        ("github", {"repository": "acme/FRAUD"}),
        ("github", {"ref": "refs/pull/1/merge", "job_workflow_ref": (
            "acme/fraud/.github/workflows/train.yml@refs/pull/1/merge")}),
        ("github", {"job_workflow_ref": (
            "Acme/Fraud/.github/workflows/train.yml"
            "@4b825dc642cb6eb9a060e54bf8d69288fbee4904")}),
        ("github", {"environment": None}),
        ("gitlab", {"ci_config_ref_uri": (
            "gitlab.example.com:8443/git/acme/fraud//ci/other.yml@refs/heads/main")}),
        ("gitlab", {"ci_config_ref_uri": (
            "gitlab.example.com:8443/git/acme/fraud//.gitlab-ci.yml"
            "@714a629c0b401fdce83e847fc9589983fc6f46bc")}),
        ("gitlab", {"ref_path": "refs/heads/a@b", "ci_config_ref_uri": (
            "gitlab.example.com:8443/git/acme/fraud//.gitlab-ci.yml@refs/heads/a@b")}),
        ("kubernetes", {"aud": ["us"]}),
    ],
)  # fmt: skip
def test_job_that_is_told_of_in_other_words_is_the_same(
    provider: str, changes: Claims
) -> None:
    claims = right(provider, **changes)

    assert publisher(provider, claims, row(provider)) == row(provider)


def kubernetes(**members: object) -> Claims:
    own = claims_of("kubernetes", "")["kubernetes.io"]
    return {"kubernetes.io": {**own, **members}}


WORKFLOWS = "Acme/Fraud/.github/workflows"
CI_FILE = "gitlab.example.com:8443/git/acme/fraud//.gitlab-ci.yml"
#: By what is wrong: the platform, the claims, and what the publisher asks besides.
WRONG: dict[str, tuple[str, Claims, dict[str, str]]] = {
    "another repository": ("github", {"repository": "acme/other"}, {}),
    "repository of another owner": ("github", {"repository": "evil/fraud"}, {}),
    "repository that begins alike": ("github", {"repository": "acme/fraud-2"}, {}),
    "no repository": ("github", {"repository": None}, {}),
    "repository that is a list": ("github", {"repository": ["acme/fraud"]}, {}),
    "resurrected owner": ("github", {"repository_owner_id": "999"}, {}),
    "no owner id": ("github", {"repository_owner_id": None}, {}),
    "owner id that is a number": ("github", {"repository_owner_id": 583231}, {}),
    "owner id that is empty": ("github", {"repository_owner_id": ""}, {}),
    "renamed and made anew": (
        "github",
        {"repository_id": "9"},
        {"repository_id": "4711"},
    ),
    "another workflow": (
        "github",
        {"job_workflow_ref": f"{WORKFLOWS}/other.yml@refs/heads/main"},
        {},
    ),
    "workflow that ends alike": (
        "github",
        {"job_workflow_ref": f"{WORKFLOWS}/x/train.yml@refs/heads/main"},
        {},
    ),
    "workflow in another case": (
        "github",
        {"job_workflow_ref": f"{WORKFLOWS}/TRAIN.yml@refs/heads/main"},
        {},
    ),
    "workflow of another repository": (
        "github",
        {"job_workflow_ref": "evil/x/.github/workflows/train.yml@refs/heads/main"},
        {},
    ),
    "workflow of a name that begins alike": (
        "github",
        {"job_workflow_ref": "Acme/Fraud2/.github/workflows/train.yml@refs/heads/main"},
        {},
    ),
    "workflow of another ref": (
        "github",
        {"job_workflow_ref": f"{WORKFLOWS}/train.yml@refs/heads/evil"},
        {},
    ),
    "workflow of no ref": (
        "github",
        {"job_workflow_ref": f"{WORKFLOWS}/train.yml"},
        {},
    ),
    "workflow while nobody says what runs": (
        "github",
        {
            "job_workflow_ref": f"{WORKFLOWS}/train.yml@refs/heads/x",
            "ref": None,
            "sha": None,
        },
        {},
    ),
    "no workflow": ("github", {"job_workflow_ref": None}, {}),
    "another environment": (
        "github",
        {"environment": "test"},
        {"environment": "registry"},
    ),
    "no environment": ("github", {"environment": None}, {"environment": "registry"}),
    "another ref": ("github", {}, {"ref": "refs/heads/release"}),
    "pull_request_target": ("github", {"event_name": "pull_request_target"}, {}),
    "no event": ("github", {"event_name": None}, {}),
    "two audiences": ("github", {"aud": ["us", "them"]}, {}),
    "no audience": ("github", {"aud": []}, {}),
    "another project": ("gitlab", {"project_id": "21"}, {}),
    "no project": ("gitlab", {"project_id": None}, {}),
    "project that is a number": ("gitlab", {"project_id": 20}, {}),
    "another namespace": ("gitlab", {"namespace_id": "1"}, {"namespace_id": "72"}),
    "ref that is not protected": ("gitlab", {"ref_protected": "false"}, {}),
    "ref that is protected otherwise": ("gitlab", {"ref_protected": True}, {}),
    "ref of which nobody says so": ("gitlab", {"ref_protected": None}, {}),
    "environment of another job": (
        "gitlab",
        {"environment": "Registry"},
        {"environment": "registry"},
    ),
    "tag of the branch's name": (
        "gitlab",
        {
            "ref_path": "refs/tags/main",
            "ci_config_ref_uri": f"{CI_FILE}@refs/tags/main",
        },
        {"ref": "refs/heads/main"},
    ),
    "no pipeline's file": ("gitlab", {"ci_config_ref_uri": None}, {}),
    "pipeline of another project": (
        "gitlab",
        {
            "ci_config_ref_uri": "gitlab.example.com:8443/git/evil/x//.gitlab-ci.yml"
            "@refs/heads/main"
        },
        {},
    ),
    "pipeline of another server": (
        "gitlab",
        {"ci_config_ref_uri": "gitlab.com/acme/fraud//.gitlab-ci.yml@refs/heads/main"},
        {},
    ),
    "pipeline of another ref": (
        "gitlab",
        {"ci_config_ref_uri": f"{CI_FILE}@refs/heads/evil"},
        {},
    ),
    "pipeline without a file": (
        "gitlab",
        {"ci_config_ref_uri": f"{CI_FILE.partition('//')[0]}//@refs/heads/main"},
        {},
    ),
    "another file": ("gitlab", {}, {"config": "ci/release.yml"}),
    "pipeline while nobody says what runs": (
        "gitlab",
        {"ref_path": None, "sha": None},
        {},
    ),
    "another cluster's namespace": ("kubernetes", kubernetes(namespace="evil"), {}),
    "another account": (
        "kubernetes",
        {
            "sub": "system:serviceaccount:ml:other",
            **kubernetes(serviceaccount={"name": "other"}),
        },
        {},
    ),
    "subject of another account": (
        "kubernetes",
        {"sub": "system:serviceaccount:ml:admin"},
        {},
    ),
    "no subject": ("kubernetes", {"sub": None}, {}),
    "account made anew": (
        "kubernetes",
        {},
        {"uid": "00000000-0000-0000-0000-000000000000"},
    ),
    "no uid": (
        "kubernetes",
        kubernetes(serviceaccount={"name": "training"}),
        {"uid": "14ee3fa4-a7e2-420f-9f9a-dbc4507c3798"},
    ),
    "account that is no object": ("kubernetes", kubernetes(serviceaccount="x"), {}),
    "nothing of Kubernetes": ("kubernetes", {"kubernetes.io": "x"}, {}),
    "a legacy token": (
        "kubernetes",
        {
            "kubernetes.io": None,
            "kubernetes.io/serviceaccount/namespace": "ml",
            "kubernetes.io/serviceaccount/service-account.name": "training",
        },
        {},
    ),
}


@pytest.mark.parametrize(("provider", "changes", "asked"), WRONG.values(), ids=WRONG)
def test_t5_job_that_is_another_is_refused(
    provider: str, changes: Claims, asked: dict[str, str]
) -> None:
    claims = right(provider, **changes)

    with pytest.raises(NotSignedInError) as refused:
        publisher(provider, claims, row(provider, **asked))
    assert refused.value.message.isprintable()


def test_who_refuses_says_which_claim_it_was() -> None:
    rows = [
        row("github", f"p{number}", environment="release", ref=f"refs/heads/{number}")
        for number in range(5)
    ]

    with pytest.raises(NotSignedInError) as refused:
        publisher("github", right("github"), *rows)

    assert "p0: another environment than 'registry'; p1: " in refused.value.message
    assert "p3" not in refused.value.message


def test_of_publishers_that_say_as_much_the_oldest_counts() -> None:
    old = row("github", "z", environment="registry")
    young = PublisherRow(
        **{
            **{name: getattr(old, name) for name in old.__slots__},
            "id": "a",
            "name": "a",
            "claims": {**ASKED["github"], "ref": "refs/heads/main"},
            "created_at": MADE_AT + timedelta(seconds=1),
        }
    )

    assert publisher("github", right("github"), young, row("github"), old) == old


@PROVIDERS
def test_algorithms_are_asymmetric(provider: str) -> None:
    algorithms = algorithms_of(JobProvider(provider))

    assert "RS256" in algorithms
    assert all(name[:2] in {"RS", "ES"} for name in algorithms)
    assert bool(usual_issuer(JobProvider(provider))) is (provider != "kubernetes")


@pytest.mark.parametrize(
    ("provider", "issuer", "human", "url"),
    [
        (
            "github",
            ISSUERS["github"],
            "https://github.com#1",
            "https://github.com/Acme/Fraud/actions/runs/1658821493/attempts/2",
        ),
        (
            "github",
            "https://token.actions.acme.ghe.com",
            "https://acme.ghe.com#1",
            "https://acme.ghe.com/Acme/Fraud/actions/runs/1658821493/attempts/2",
        ),
        (
            "gitlab",
            ISSUERS["gitlab"],
            f"{ISSUERS['gitlab']}#1",
            f"{ISSUERS['gitlab']}/acme/fraud/-/jobs/302",
        ),
        ("kubernetes", ISSUERS["kubernetes"], None, None),
    ],
)
def test_run_and_person_behind_it_are_named(
    provider: str, issuer: str, human: str | None, url: str | None
) -> None:
    kind = JobProvider(provider)
    claims = job_claims(kind, {**right(provider), "iss": issuer} | _config(issuer))

    told = on_behalf_of(kind, claims, jti_sha256="0" * 64)

    assert told["issuer"] == issuer
    assert (told.get("human"), told.get("run_url")) == (human, url)


def _config(issuer: str) -> Claims:
    return {"ci_config_ref_uri": claims_of("gitlab", issuer)["ci_config_ref_uri"]}


@PROVIDERS
def test_what_is_kept_of_a_run_is_bounded_and_one_line(provider: str) -> None:
    kind = JobProvider(provider)
    claims = dict.fromkeys(_told(kind), "\n" + "x" * 999)

    told = on_behalf_of(kind, {**claims, "iss": "https://i"}, jti_sha256="0" * 64)

    assert all(len(text) <= MAX_CHARACTERS for text in told.values())
    assert all(text.isprintable() for text in told.values())
    assert on_behalf_of(kind, {"iss": "https://i"}, jti_sha256="") == {
        "provider": provider,
        "issuer": "https://i",
    }


def _told(kind: JobProvider) -> set[str]:
    return {*right(kind), "job_id", "run_id", "pod", "namespace"}


@pytest.mark.parametrize(
    ("one", "other", "is_same"),
    [
        (("a.b.c", {"jti": "x"}), ("d.e.f", {"jti": "x"}), True),
        (("a.b.c", {"jti": "x"}), ("a.b.c", {"jti": "y"}), False),
        (("a.b.c", {}), ("a.b.d", {}), True),
        (("a.b.c", {}), ("a.x.c", {}), False),
        (("a.b.c", {"jti": ""}), ("a.b.c", {"jti": 7}), True),
    ],
)
def test_token_is_told_by_its_id_or_by_what_was_signed(
    one: tuple[str, Claims], other: tuple[str, Claims], *, is_same: bool
) -> None:
    assert (jti_sha256(*one) == jti_sha256(*other)) is is_same
