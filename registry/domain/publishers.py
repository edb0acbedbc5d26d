"""Trusted publishers: CI jobs that are known by what their platform signs of them.

Rules (those of PyPI's trusted publishing, and of OpenSSF's guide for registries):

- What a publisher says is compared with a claim, and a claim that is compared and is
  not there is a refusal. Claims that nobody asks for are ignored: platforms add some.
- Ids that are never given to anybody else are required, beside any name.
- A workflow counts only as the repository's own file, at the commit or ref that runs.
- Of several publishers that a job fits, the one that says most of it counts; then the
  oldest.
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum, auto
from functools import partial
from typing import Any, NamedTuple

from registry.domain.roles import Role
from registry.domain.rows import PublisherRow
from registry.errors import InvalidInputError, NotSignedInError

#: The claims of a token that are short texts, by name.
Claims = Mapping[str, str]

MAX_CLAIM_CHARACTERS = 1_000
#: What a publisher may be given: no job administers, approves or breaks glass.
ROLES = (Role.READER, Role.WRITER, Role.PROMOTER)
_KUBERNETES = "kubernetes.io"


class JobProvider(StrEnum):
    """What runs the jobs."""

    GITHUB = auto()
    GITLAB = auto()
    KUBERNETES = auto()


@dataclass(frozen=True, kw_only=True)
class _Member:
    """What a publisher may say of a job, and the claim that it is compared with."""

    claim: str
    form: str
    pattern: str
    is_required: bool = False
    fits: Callable[[str, str, Claims], bool] = lambda said, found, _: said == found


@dataclass(frozen=True, kw_only=True)
class _Rules:
    """How the jobs of a platform are known.

    Attributes:
        issuer: where it is always the same, unless somebody runs their own.
        algorithms: those that the platform documents.
        always: what claims must be, whatever a publisher says, and why else not.
        place: finds the publishers that a job may be of.
    """

    issuer: str = ""
    algorithms: Sequence[str] = ("RS256",)
    members: Mapping[str, _Member]
    always: Mapping[str, tuple[Callable[[str, Claims], bool], str]]
    place: Sequence[str]
    nested: Callable[[Mapping[str, Any]], Mapping[str, Any]] = field(default=dict)


def _ignoring_case(said: str, found: str, _: Claims) -> bool:
    return said.lower() == found.lower()


def _is_workflow(said: str, found: str, claims: Claims) -> bool:
    """Whether that is the file of the token's own repository, as it is being run."""
    place, _, commit = found.partition("@")
    repository = claims.get("repository", "")
    head, tail = place[: len(repository)], place[len(repository) :]
    return (
        head.lower() == repository.lower()
        and tail == f"/.github/workflows/{said}"
        and commit in {claims.get("ref"), claims.get("sha")}
    )


def _is_own_pipeline(found: str, claims: Claims, *, file: str = "") -> bool:
    """Whether the pipeline is defined in the project that runs it, as it is there."""
    server = claims["iss"].partition("://")[2].rstrip("/")
    start = f"{server}/{claims.get('project_path', '')}//"
    ends = [f"@{claims[name]}" for name in ("ref_path", "sha") if name in claims]
    files = [found[len(start) :].removesuffix(e) for e in ends if found.endswith(e)]
    is_file = any(each == file if file else each for each in files)
    return found.startswith(start) and is_file


def _is_account(found: str, claims: Claims) -> bool:
    names = (claims.get("namespace", ""), claims.get("service_account", ""))
    return all(names) and found == ":".join(("system:serviceaccount", *names))


def _of_kubernetes(claims: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the names that its tokens have within a claim of its own."""
    own = claims.get(_KUBERNETES)
    own = own if isinstance(own, Mapping) else {}
    parts = {name: own.get(name) for name in ("serviceaccount", "pod")}
    account, pod = (p if isinstance(p, Mapping) else {} for p in parts.values())
    return {
        "namespace": own.get("namespace"),
        "service_account": account.get("name"),
        "service_account_uid": account.get("uid"),
        "pod": pod.get("name"),
    }


_number = partial(_Member, form="a number", pattern=r"[0-9]{1,20}")
_ref = partial(
    _Member, form="refs/heads/… or refs/tags/…", pattern=r"refs/[!-~]{1,500}"
)
_environment = partial(
    _Member,
    claim="environment",
    form="the name of an environment",
    pattern=r"[^\x00-\x1f\x7f]{1,255}",
)
_account = partial(
    _Member,
    form="a name as Kubernetes has them",
    pattern=r"[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?",
    is_required=True,
)

_RULES: Mapping[str, _Rules] = {
    JobProvider.GITHUB: _Rules(
        issuer="https://token.actions.githubusercontent.com",
        members={
            "repository": _Member(
                claim="repository",
                form="owner/name",
                pattern=r"[A-Za-z0-9_.-]{1,100}/[A-Za-z0-9_.-]{1,100}",
                is_required=True,
                fits=_ignoring_case,
            ),
            "repository_owner_id": _number(
                claim="repository_owner_id", is_required=True
            ),
            "repository_id": _number(claim="repository_id"),
            "workflow": _Member(
                claim="job_workflow_ref",
                form="the name of a file in .github/workflows, as train.yml",
                pattern=r"[A-Za-z0-9_. -]{1,200}\.ya?ml",
                is_required=True,
                fits=_is_workflow,
            ),
            "environment": _environment(fits=_ignoring_case),
            "ref": _ref(claim="ref"),
        },
        always={
            "event_name": (
                lambda found, _: found != "pull_request_target",
                "pull_request_target runs for the pull requests of strangers",
            ),
        },
        place=("repository",),
    ),
    JobProvider.GITLAB: _Rules(
        issuer="https://gitlab.com",
        members={
            "project_id": _number(claim="project_id", is_required=True),
            "namespace_id": _number(claim="namespace_id"),
            "config": _Member(
                claim="ci_config_ref_uri",
                form="the path of the file of the pipeline, as .gitlab-ci.yml",
                pattern=r"[A-Za-z0-9_.-][A-Za-z0-9_./ -]{0,254}",
                fits=lambda said, found, claims: _is_own_pipeline(
                    found, claims, file=said
                ),
            ),
            "environment": _environment(),
            "ref": _ref(claim="ref_path"),
        },
        always={
            "ref_protected": (
                lambda found, _: found == "true",
                "the job runs for a branch or tag that is not protected",
            ),
            "ci_config_ref_uri": (
                _is_own_pipeline,
                "the pipeline is defined outside of the project",
            ),
        },
        place=("project_id",),
    ),
    JobProvider.KUBERNETES: _Rules(
        algorithms=("RS256", "ES256", "ES384", "ES512"),
        members={
            "namespace": _account(claim="namespace"),
            "service_account": _account(claim="service_account"),
            "uid": _Member(
                claim="service_account_uid",
                form="the uid of the service account",
                pattern=r"[0-9a-f-]{36}",
            ),
        },
        always={
            "sub": (_is_account, "the subject is not the service account"),
        },
        place=("namespace", "service_account"),
        nested=_of_kubernetes,
    ),
}


def algorithms_of(provider: JobProvider) -> Sequence[str]:
    """Return what the platform's tokens may be signed with."""
    return _RULES[provider].algorithms


def usual_issuer(provider: JobProvider) -> str:
    """Return the issuer of those who run none of their own; nothing where all do."""
    return _RULES[provider].issuer


class MemberForm(NamedTuple):
    """How something is said of a job."""

    form: str
    is_required: bool


def members_of(provider: str) -> Mapping[str, MemberForm]:
    """Return what may be said of a platform's jobs; of no platform, nothing."""
    rules = _RULES.get(provider)
    members = rules.members if rules else {}
    return {name: MemberForm(m.form, m.is_required) for name, m in members.items()}


def checked_members(provider: JobProvider, said: Mapping[str, str]) -> dict[str, str]:
    """Return what a publisher says of its jobs.

    Raises:
        InvalidInputError: naming the member that is unknown, missing or malformed.
    """
    members = _RULES[provider].members
    for name in said:
        if name not in members:
            known = ", ".join(members)
            raise InvalidInputError(
                f"{provider} has {known}", field=f"claims.{name[:80]}"
            )
    for name, member in members.items():
        if name not in said and member.is_required:
            raise InvalidInputError(f"expected {member.form}", field=f"claims.{name}")
        if name in said and not re.fullmatch(member.pattern, said[name]):
            raise InvalidInputError(f"expected {member.form}", field=f"claims.{name}")
    return {name: said[name] for name in members if name in said}


def place_of(provider: JobProvider, said: Mapping[str, str]) -> str:
    """Return where a publisher's jobs run, as those of a token are found by it."""
    return ":".join(said.get(name, "") for name in _RULES[provider].place).lower()


def job_claims(provider: JobProvider, claims: Mapping[str, Any]) -> Claims:
    """Return the claims of a verified token that are short texts.

    Raises:
        NotSignedInError: for several audiences, or what no publisher allows.
    """
    audience = claims.get("aud")
    if not isinstance(audience, str) and len(audience or ()) != 1:
        raise NotSignedInError("the JWT is for several audiences")
    rules = _RULES[provider]
    found = {
        name: value
        for name, value in {**claims, **rules.nested(claims)}.items()
        if isinstance(value, str)
        and 0 < len(value) <= MAX_CLAIM_CHARACTERS
        and value.isprintable()
    }
    for claim, (is_allowed, why) in rules.always.items():
        if claim not in found:
            raise NotSignedInError(f"the JWT has no claim {claim}")
        if not is_allowed(found[claim], found):
            raise NotSignedInError(f"the JWT is refused: {why}")
    return found


def publisher_of(candidates: Iterable[PublisherRow], claims: Claims) -> PublisherRow:
    """Return the publisher that a job is.

    Args:
        candidates: those of its issuer and place.
        claims: as ``job_claims`` returns them.

    Raises:
        NotSignedInError: none is; says why the nearest is not.
    """
    ordered = sorted(candidates, key=lambda p: (-len(p.claims), p.created_at, p.id))
    reasons = {publisher.name: _misfit(publisher, claims) for publisher in ordered}
    for publisher in ordered:
        if reasons[publisher.name] is None:
            return publisher
    why = "; ".join(f"{name}: {why}" for name, why in [*reasons.items()][:3])
    raise NotSignedInError(
        f"this job is no trusted publisher's ({why or 'none is of this place'})"
    )


def _misfit(publisher: PublisherRow, claims: Claims) -> str | None:
    members = _RULES[JobProvider(publisher.provider)].members
    for name, said in publisher.claims.items():
        member = members[name]
        found = claims.get(member.claim)
        if found is None:
            return f"the JWT has no claim {member.claim}"
        if not member.fits(said, found, claims):
            return f"another {name} than {found[:200]!r}"
    return None
