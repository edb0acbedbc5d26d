"""Sources: what a caller may name as the place of an artifact, by its text alone.

Rules, as MLflow's server and clients have them:

- No ``..`` as a segment, however often the text is percent-decoded; no NUL.
- An address is kept as it is given, in whatever Unicode form; names are not.
- Something must be named: a bucket or a scheme alone is refused.
- An address is of a kind that MLflow's clients can load from a store of their own
  (``ADDRESS_SCHEMES``). Any other is refused: nobody could load it, or every client
  would have to fetch it from the host it names (``http``, ``ftp``, ``git+https``, …).
- An address holds no password: it is shown to every reader, and announced.
- ``runs:/``, ``models:/`` and ``mlflow-artifacts:/`` name things of MLflow, which
  others look up. Whether an address can be read is not known here.

Pure: nothing here reads a file, a database or a server.
"""

import re
from dataclasses import dataclass
from urllib.parse import unquote

from registry.domain.names import clean_text, storable_text
from registry.errors import InvalidInputError

MAX_SOURCE_CHARACTERS = 2000

#: Object stores, and directories; MLflow's clients have a reader for each.
ADDRESS_SCHEMES = frozenset({"", "dbfs", "file", "gs", "s3", "wasbs"})
# One letter is a drive of Windows.
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+):")
_PASSWORD = re.compile(r"//[^/]*:[^/]*@")
_RUN_ID = re.compile(r"[A-Za-z0-9][\w-]{0,255}", re.ASCII)
_LOGGED_MODEL_ID = re.compile(r"m-[\w-]{1,253}", re.ASCII)
_SEPARATORS = re.compile(r"[/\\]")
_LATEST = "latest"
_MAX_NUMBER = 2**31 - 1


@dataclass(frozen=True, slots=True)
class Address:
    """A place in some store; ``scheme`` is lower-case, empty for a local path."""

    text: str
    scheme: str


@dataclass(frozen=True, slots=True)
class RunSource:
    """A path below the artifacts of a run; the path may be empty."""

    text: str
    run_id: str
    path: str


@dataclass(frozen=True, slots=True)
class LoggedModelSource:
    """A model that a run logged."""

    text: str
    model_id: str


@dataclass(frozen=True, slots=True)
class ProxiedSource:
    """A path below the artifacts that the tracking server itself hands out."""

    text: str
    path: str


@dataclass(frozen=True, slots=True)
class RegisteredSource:
    """A version of a registered model: the latest, where nothing says which."""

    text: str
    model: str
    number: int | None = None
    alias: str | None = None
    stage: str | None = None


Source = Address | RunSource | LoggedModelSource | ProxiedSource | RegisteredSource


def parse_source(text: str) -> Source:
    """Return what a source names.

    Raises:
        InvalidInputError: the text breaks a rule of this module.
    """
    storable_text(text, field="source")
    if not text.strip() or len(text) > MAX_SOURCE_CHARACTERS:
        raise _refused(f"must have 1 to {MAX_SOURCE_CHARACTERS} characters")
    _check_segments(text)
    match = _SCHEME.match(text)
    scheme = match.group(1).lower() if match else ""
    rest = text[match.end() :] if match else text
    readers = {"runs": _run, "models": _model, "mlflow-artifacts": _proxied}
    if scheme not in ADDRESS_SCHEMES and scheme not in readers:
        raise _refused(
            f"must not be a {scheme[:20]}: address; link an artifact in an object"
            " store, such as s3://bucket/path, or upload it"
        )
    if _PASSWORD.match(rest):
        raise _refused("must not hold a password or key")
    if not _path_of(rest):
        raise _refused("must name a path, not only a scheme, a bucket or a host")
    reader = readers.get(scheme)
    return Address(text, scheme) if reader is None else reader(text, rest)


def _check_segments(text: str) -> None:
    """Refuse ``..`` and NUL in every text that a careless reader could decode."""
    before = ""
    while text != before:
        if ".." in _SEPARATORS.split(text) or "\0" in text:
            raise _refused("must not have '..' as a part of its path, nor NUL")
        before, text = text, unquote(text, errors="replace")


def _path_of(rest: str) -> str:
    """Return what stands behind the authority, without slashes at its ends."""
    if rest.startswith("//"):
        rest = rest[2:].partition("/")[2]
    return rest.strip("/")


def _run(text: str, rest: str) -> RunSource:
    run_id, _, path = _local(rest, "runs:/RUN_ID/path").partition("/")
    if not _RUN_ID.fullmatch(run_id):
        raise _refused(f"{run_id[:80]!r} is no id of a run")
    return RunSource(text, run_id, path.strip("/"))


def _proxied(text: str, rest: str) -> ProxiedSource:
    return ProxiedSource(text, _local(rest, "mlflow-artifacts:/path").strip("/"))


def _model(text: str, rest: str) -> LoggedModelSource | RegisteredSource:
    named = _local(rest, "models:/NAME/VERSION")
    name, slash, selector = named.partition("/")
    if slash:
        return _by_selector(text, name, selector)
    name, at, alias = named.rpartition("@")
    if at:
        name, alias = _name(name), _name(alias)
        is_latest = alias.lower() == _LATEST  # no alias: nobody can set it
        return RegisteredSource(text, name, alias=None if is_latest else alias)
    if not _LOGGED_MODEL_ID.fullmatch(named):
        raise _not_a_model()
    return LoggedModelSource(text, named)


def _by_selector(text: str, name: str, selector: str) -> RegisteredSource:
    if "/" in selector:
        raise _not_a_model()
    name, selector = _name(name), _name(selector)
    if selector.lower() == _LATEST:
        return RegisteredSource(text, name)
    if not (selector.isascii() and selector.isdigit()):
        return RegisteredSource(text, name, stage=selector)
    # No version has a number that a database could not hold.
    number = min(int(selector[:20]), _MAX_NUMBER)
    return RegisteredSource(text, name, number=number)


def _local(rest: str, expected: str) -> str:
    """Return what stands behind the one slash of an address without a host."""
    if not rest.startswith("/") or rest.startswith("//"):
        raise _refused(f"must have the form {expected}, without a host")
    return rest[1:]


def _name(part: str) -> str:
    """Return a name, in the form in which names are stored."""
    if not part.strip():
        raise _not_a_model()
    return clean_text(part, field="source")


def _not_a_model() -> InvalidInputError:
    return _refused(
        "must be models:/NAME/VERSION, models:/NAME/STAGE, models:/NAME/latest, "
        "models:/NAME@ALIAS or models:/m-ID"
    )


def _refused(reason: str) -> InvalidInputError:
    return InvalidInputError(reason, field="source")
