"""The settings, read once from the environment at start.

Rules:

- Every setting is an environment variable ``STAGEGATE_<NAME>``; a secret may
  come from the file that ``STAGEGATE_<NAME>_FILE`` names instead.
- All problems are found before any is reported, in one ``ConfigurationError``.
- No secret has a default; where one may be missing, ``registry.first_start``
  makes it in the data directory of the embedded database.
- An unknown ``STAGEGATE_`` variable is a problem: it is a typing error that
  would otherwise change nothing, silently.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from registry import ways_to_sign_in
from registry.addresses import server_address
from registry.errors import ConfigurationError
from registry.ways_to_sign_in import WaysToSignIn
from webhooks.sending.guard import AllowedNetwork

PREFIX = "STAGEGATE_"
MIN_SECRET_KEY_CHARACTERS = 32
MAX_RETENTION_DAYS = 3650
DEFAULT_URL = "http://127.0.0.1:8000"

T = TypeVar("T")

#: As SQLAlchemy reads it. Of anything else it would take a part of the password for
#: host, port or database, and quote that when it cannot connect.
_POSTGRES_PLACE = re.compile(
    r"([^:/@]*(:[^@]*)?@)?"
    r"(\[[^\]/?@]+\]|[^:/?@]*)(:\d*)?(/[^?@]*)?(\?.*)?"
)

_SECRETS = frozenset(
    {
        "BOOTSTRAP_TOKEN",
        "DATABASE_URL",
        "ID_TOKEN",
        "OIDC_CLIENT_SECRET",
        "PROXY_SECRET",
        "S3_ACCESS_KEY",
        "S3_SECRET_KEY",
        "SECRET_KEY",
        "TOKEN",
        "TRACKING_PASSWORD",
        "TRACKING_TOKEN",
    }
)
_NAMES = _SECRETS | {
    "ALLOWED_HOSTS",
    "ARTIFACT_ROOT",
    "DATA_DIR",
    "DELIVER",
    "INSECURE_DEV",
    "LOG_LEVEL",
    "OIDC_AUDIENCE",
    "OIDC_CLIENT_ID",
    "OIDC_GROUPS_CLAIM",
    "OIDC_ISSUER",
    "OIDC_ROLES_CLAIM",
    "OIDC_SCOPES",
    "PGBOUNCER",
    "POLICY_FILE",
    "PUBLIC_URL",
    "S3_ENDPOINT_URL",
    "S3_REGION",
    "SERVE_ARTIFACTS",
    "TRACKING_URI",
    "TRACKING_USERNAME",
    "TRUSTED_PROXIES",
    "URL",
    "WEBHOOK_ALLOWED_NETWORKS",
    "WEBHOOK_ALLOW_HTTP",
    "WEBHOOK_RETENTION_DAYS",
}

#: Every variable that is understood, with prefix and ``_FILE`` forms.
SETTING_NAMES: frozenset[str] = frozenset(
    {PREFIX + name for name in _NAMES} | {f"{PREFIX}{name}_FILE" for name in _SECRETS}
)

#: Kubernetes announces a Service called "stagegate" to its pods by variables of
#: these forms; the test harness has names of its own.
_NOT_OURS = re.compile(
    rf"{PREFIX}(TEST_\w+|(\w+_)?(SERVICE_(HOST|PORT\w*)|PORT(_\d+_(TCP|UDP)\w*)?))$"
)


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What the operator decided. Secrets are kept out of ``repr``.

    Attributes:
        pgbouncer: whether the database URL leads to PgBouncer in transaction mode.
        public_url: what every link that leaves begins with; empty where requests
            have to tell (``registry.web.own_address``).
        oidc_audience: what tokens of CI jobs must be for; empty: none is exchanged.
        serve_artifacts: whether MLflow clients are sent here for artifacts, instead
            of to the store.
    """

    data_dir: Path
    database_url: str = field(repr=False)
    pgbouncer: bool = False
    artifact_root: str
    s3_endpoint_url: str = ""
    s3_access_key: str = field(default="", repr=False)
    s3_secret_key: str = field(default="", repr=False)
    s3_region: str = "us-east-1"
    policy_file: Path
    secret_keys: tuple[str, ...] = field(default=(), repr=False)
    bootstrap_token: str = field(default="", repr=False)
    ways_to_sign_in: WaysToSignIn = field(default_factory=WaysToSignIn)
    webhook_allowed_networks: tuple[AllowedNetwork, ...] = ()
    webhook_allow_http: bool = False
    webhook_retention_days: int = 90
    allowed_hosts: tuple[str, ...] = ()
    public_url: str = ""
    oidc_audience: str = ""
    serve_artifacts: bool = True
    tracking_uri: str = ""
    tracking_token: str = field(default="", repr=False)
    tracking_username: str = ""
    tracking_password: str = field(default="", repr=False)
    deliver: bool = True
    log_level: str = "INFO"

    @property
    def is_embedded(self) -> bool:
        """Whether the database is the SQLite file the server looks after."""
        return self.database_url.startswith("sqlite")

    @classmethod
    def from_env(cls, environ: Mapping[str, str]) -> "Settings":
        """Read every setting.

        Raises:
            ConfigurationError: listing every bad value, missing secret and
                unknown name at once.
        """
        return _Reader(environ).settings()


def packaged_config(name: str) -> Path:
    """The file ``name`` of ``config/``: in the wheel, else in the checkout."""
    here = Path(__file__).resolve().parent
    packaged = here / "config" / name
    return packaged if packaged.exists() else here.parent / "config" / name


def read_secret(environ: Mapping[str, str], name: str) -> str:
    """A secret from ``STAGEGATE_<name>`` or the file ``…_FILE`` names.

    Raises:
        ConfigurationError: when both are given, or the file cannot be read.
    """
    direct = environ.get(PREFIX + name, "")
    path = environ.get(f"{PREFIX}{name}_FILE", "")
    if direct and path:
        raise ConfigurationError(
            [f"{PREFIX}{name} and {PREFIX}{name}_FILE are both set; keep one"]
        )
    if not path:
        return direct
    try:
        return Path(path).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(
            [f"{PREFIX}{name}_FILE: cannot read {path}: {error}"]
        ) from error


class _Reader:
    """Collects values and problems, so that all problems come out together."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self.environ = environ
        self.problems = [
            f"{name} is not a setting (see the README for the list)"
            for name in sorted(environ)
            if name.startswith(PREFIX)
            and name not in SETTING_NAMES
            and not _NOT_OURS.match(name)
        ]

    def settings(self) -> Settings:
        data_dir = Path(self._text("DATA_DIR", "stagegate-data")).absolute()
        database_url = self._secret("DATABASE_URL") or (
            f"sqlite:///{data_dir / 'stagegate.db'}"
        )
        artifact_root = self._text("ARTIFACT_ROOT", str(data_dir / "artifacts"))
        public_url = self._parsed("PUBLIC_URL", "", server_address)
        settings = Settings(
            data_dir=data_dir,
            database_url=self._database_url(database_url),
            pgbouncer=self._flag("PGBOUNCER", default=False),
            artifact_root=artifact_root,
            s3_endpoint_url=self._parsed("S3_ENDPOINT_URL", "", server_address),
            s3_access_key=self._secret("S3_ACCESS_KEY"),
            s3_secret_key=self._secret("S3_SECRET_KEY"),
            s3_region=self._text("S3_REGION", "us-east-1"),
            policy_file=self._policy_file(),
            secret_keys=self._secret_keys(),
            bootstrap_token=self._secret("BOOTSTRAP_TOKEN"),
            ways_to_sign_in=self._ways_to_sign_in(),
            webhook_allowed_networks=self._parsed(
                "WEBHOOK_ALLOWED_NETWORKS", (), _networks
            ),
            webhook_allow_http=self._flag("WEBHOOK_ALLOW_HTTP", default=False),
            webhook_retention_days=self._parsed("WEBHOOK_RETENTION_DAYS", 90, _days),
            allowed_hosts=_names(self._text("ALLOWED_HOSTS", "")),
            public_url=public_url,
            oidc_audience=self._text("OIDC_AUDIENCE", public_url),
            # Clients cannot read a directory of the server; a bucket they may.
            serve_artifacts=self._flag(
                "SERVE_ARTIFACTS", default="://" not in artifact_root
            ),
            tracking_uri=self._parsed("TRACKING_URI", "", server_address),
            tracking_token=self._secret("TRACKING_TOKEN"),
            tracking_username=self._text("TRACKING_USERNAME", ""),
            tracking_password=self._secret("TRACKING_PASSWORD"),
            deliver=self._flag("DELIVER", default=True),
            log_level=self._parsed("LOG_LEVEL", "INFO", _log_level),
        )
        self._check_together(settings)
        if self.problems:
            raise ConfigurationError(self.problems)
        return settings

    def _check_together(self, settings: Settings) -> None:
        if not settings.secret_keys and not settings.is_embedded:
            self.problems.append(
                "STAGEGATE_SECRET_KEY is required with a database of your own "
                f"(at least {MIN_SECRET_KEY_CHARACTERS} random characters)"
            )
        if "://" in settings.artifact_root:
            self._check_s3(settings)
        if settings.tracking_token and settings.tracking_username:
            self.problems.append(
                "STAGEGATE_TRACKING_TOKEN and STAGEGATE_TRACKING_USERNAME are both "
                "set; keep one"
            )
        if bool(settings.tracking_username) != bool(settings.tracking_password):
            self.problems.append(
                "STAGEGATE_TRACKING_USERNAME and STAGEGATE_TRACKING_PASSWORD go "
                "together; set both or none"
            )

        self.problems += settings.ways_to_sign_in.problems(
            public_url=settings.public_url
        )

    def _ways_to_sign_in(self) -> WaysToSignIn:
        return WaysToSignIn(
            provider=self._agreeing(
                lambda: ways_to_sign_in.provider(
                    self._parsed("OIDC_ISSUER", "", ways_to_sign_in.issuer),
                    self._text("OIDC_CLIENT_ID", ""),
                    client_secret=self._secret("OIDC_CLIENT_SECRET"),
                    scopes=self._text("OIDC_SCOPES", ways_to_sign_in.DEFAULT_SCOPES),
                    groups_claim=self._text(
                        "OIDC_GROUPS_CLAIM", ways_to_sign_in.DEFAULT_GROUPS_CLAIM
                    ),
                    roles_claim=self._text("OIDC_ROLES_CLAIM", ""),
                )
            ),
            proxies=self._agreeing(
                lambda: ways_to_sign_in.trusted_proxies(
                    self._parsed("TRUSTED_PROXIES", (), ways_to_sign_in.networks),
                    self._secret("PROXY_SECRET"),
                )
            ),
            is_insecure_dev=self._flag("INSECURE_DEV", default=False),
        )

    def _agreeing(self, make: Callable[[], T | None]) -> T | None:
        """Return what several settings make, if they go together."""
        known = len(self.problems)
        try:
            return make()
        except ValueError as error:
            if len(self.problems) == known:  # else one of them is at fault by itself
                self.problems.append(str(error))
            return None

    def _check_s3(self, settings: Settings) -> None:
        scheme, _, rest = settings.artifact_root.partition("://")
        bucket = rest.partition("/")[0]
        if scheme.lower() != "s3" or not bucket or "@" in bucket:
            # Not quoted: people write keys of the store into such an address.
            self.problems.append(
                "STAGEGATE_ARTIFACT_ROOT: expected a directory or s3://bucket/prefix"
            )
            return
        self.problems += [
            f"STAGEGATE_{name} is required with an s3:// artifact root"
            for name in ("S3_ENDPOINT_URL", "S3_ACCESS_KEY", "S3_SECRET_KEY")
            if not getattr(settings, name.lower())
        ]

    def _text(self, name: str, default: str) -> str:
        return self.environ.get(PREFIX + name, "").strip() or default

    def _secret(self, name: str) -> str:
        try:
            return read_secret(self.environ, name)
        except ConfigurationError as error:
            self.problems += error.problems
            return ""

    def _parsed(self, name: str, default: T, parse: Callable[[str], T]) -> T:
        text = self._text(name, "")
        if not text:
            return default
        try:
            return parse(text)
        except ValueError as error:
            self.problems.append(f"{PREFIX}{name}: {error}")
            return default

    def _flag(self, name: str, *, default: bool) -> bool:
        return self._parsed(name, default, _boolean)

    def _database_url(self, url: str) -> str:
        scheme, separator, rest = url.partition("://")
        if separator and scheme in {"postgresql", "postgres", "postgresql+psycopg"}:
            if not _POSTGRES_PLACE.fullmatch(rest):
                self.problems.append(
                    f"{PREFIX}DATABASE_URL: cannot be read; in a user or password, @ is"
                    " written %40, and : / % are written %3A %2F %25"
                )
            return f"postgresql+psycopg://{rest}"
        if scheme != "sqlite" or not rest.startswith("/"):
            self.problems.append(
                f"{PREFIX}DATABASE_URL: expected sqlite:///file or "
                "postgresql://user:password@host/database"
            )
        return url

    def _policy_file(self) -> Path:
        given = self._text("POLICY_FILE", "")
        return Path(given) if given else packaged_config("policy.toml")

    def _secret_keys(self) -> tuple[str, ...]:
        keys = _names(self._secret("SECRET_KEY"))
        if any(len(key) < MIN_SECRET_KEY_CHARACTERS for key in keys):
            self.problems.append(
                f"{PREFIX}SECRET_KEY: each key needs at least "
                f"{MIN_SECRET_KEY_CHARACTERS} characters"
            )
        return keys


def _names(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(",") if part.strip())


def _boolean(text: str) -> bool:
    values = {"true": True, "1": True, "yes": True} | {
        "false": False,
        "0": False,
        "no": False,
    }
    if text.lower() not in values:
        raise ValueError(f"expected true or false, got {text!r}")
    return values[text.lower()]


def _networks(text: str) -> tuple[AllowedNetwork, ...]:
    return tuple(AllowedNetwork.parse(name) for name in _names(text))


def _days(text: str) -> int:
    days = int(text) if text.isascii() and text.isdigit() else 0
    if not 1 <= days <= MAX_RETENTION_DAYS:
        raise ValueError(
            f"expected a whole number from 1 to {MAX_RETENTION_DAYS}, got {text!r}"
        )
    return days


def _log_level(text: str) -> str:
    if text.upper() not in {"DEBUG", "INFO", "WARNING", "ERROR"}:
        raise ValueError(f"expected debug, info, warning or error, got {text!r}")
    return text.upper()
