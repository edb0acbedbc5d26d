"""A real Keycloak for the tests, with the realm that ``config/`` has as an example.

- What it makes of itself at a first start (its build, its tables, the realm) takes it
  a minute of processor time: it is made once for each version of the realm, and kept.
- Each run has a copy of that, and a port of 127.0.0.1.
- ``CI=true`` requires it; elsewhere its absence is said.
"""

import contextlib
import dataclasses
import hashlib
import json
import os
import secrets
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import requests

from tests.services.cache import cache_directory
from tests.services.keycloak_distribution import VERSION
from tests.services.processes import free_port, stop, wait_until_ready

REALM_FILE = Path(__file__).parents[2] / "config" / "keycloak-realm.json"
REALM = "stagegate"
SECRETS = "secrets.json"  #: of the people and programs in the tables beside it


@dataclasses.dataclass(frozen=True)
class KeycloakServer:
    """A running Keycloak with the example's realm.

    Attributes:
        password: of every person in the realm.
        client_secret: of every confidential client there.
    """

    url: str
    admin_password: str
    password: str
    client_secret: str

    @property
    def issuer(self) -> str:
        """What the realm calls itself."""
        return f"{self.url}/realms/{REALM}"

    def admin(self) -> requests.Session:
        """A session that may change the realm, by ``api``."""
        answer = requests.post(
            f"{self.url}/realms/master/protocol/openid-connect/token",
            data={
                "grant_type": "password",
                "client_id": "admin-cli",
                "username": "admin",
                "password": self.admin_password,
            },
            timeout=20,
        )
        answer.raise_for_status()
        session = requests.Session()
        session.headers["Authorization"] = f"Bearer {answer.json()['access_token']}"
        return session

    def api(self, path: str) -> str:
        """The address of something in the realm."""
        return f"{self.url}/admin/realms/{REALM}/{path}"

    def serve(self, client_id: str, url: str) -> None:
        """Let a client be at ``url``: browsers are sent back there, and told to it."""
        admin = self.admin()
        (client,) = admin.get(
            self.api("clients"), params={"clientId": client_id}
        ).json()
        client["redirectUris"] = [f"{url}/*"]
        client["attributes"] |= {
            "backchannel.logout.url": f"{url}/auth/backchannel-logout",
            "post.logout.redirect.uris": "+",
        }
        answer = admin.put(self.api(f"clients/{client['id']}"), json=client)
        answer.raise_for_status()


@contextlib.contextmanager
def run_server(distribution: Path) -> Iterator[KeycloakServer]:
    """Run a Keycloak of its own for the time of the block."""
    prepared = prepare(distribution)
    with tempfile.TemporaryDirectory(
        prefix="stagegate-keycloak-", ignore_cleanup_errors=True
    ) as name:
        home = Path(name) / "keycloak"
        shutil.copytree(prepared, home, symlinks=True)
        with _running(home) as server:
            yield server


def prepare(distribution: Path) -> Path:
    """What a first start leaves, made now where it is not kept yet."""
    made_of = REALM_FILE.read_bytes() + Path(__file__).read_bytes()
    stamp = hashlib.sha256(made_of).hexdigest()[:12]
    target = cache_directory() / f"keycloak-{VERSION}-{stamp}"
    if target.exists():
        return target
    with tempfile.TemporaryDirectory(dir=target.parent, prefix="prepare-") as name:
        home = Path(name) / "keycloak"
        _copy(distribution, home)
        words = {
            "admin_password": secrets.token_hex(12),
            "password": secrets.token_hex(12),
            "client_secret": secrets.token_hex(16),
        }
        (home / SECRETS).write_text(json.dumps(words), encoding="utf-8")
        _write_realm(home, words)
        subprocess.run(
            [home / "bin" / "kc.sh", "build", "--db=dev-file"],
            env=_environment(words["admin_password"]),
            check=True,
            capture_output=True,
        )
        with _running(home, "--import-realm"):
            pass
        with contextlib.suppress(OSError):  # another run was faster
            home.rename(target)
    return target


def _copy(distribution: Path, home: Path) -> None:
    """Copy what Keycloak writes to; its libraries (150 MB) are shared."""
    libraries = distribution / "lib" / "lib"
    shutil.copytree(
        distribution,
        home,
        ignore=lambda name, _: {"lib"} if Path(name) == libraries.parent else set(),
    )
    (home / "lib" / "lib").symlink_to(libraries)


def _write_realm(home: Path, words: dict[str, str]) -> None:
    """Have the example imported, with passwords of our own."""
    realm = json.loads(REALM_FILE.read_text(encoding="utf-8"))
    for user in realm["users"]:
        for credential in user.get("credentials", ()):
            credential["value"] = words["password"]
    for client in realm["clients"]:
        if "secret" in client:
            client["secret"] = words["client_secret"]
    target = home / "data" / "import"
    target.mkdir(parents=True, exist_ok=True)
    (target / "realm.json").write_text(json.dumps(realm), encoding="utf-8")


@contextlib.contextmanager
def _running(home: Path, *options: str) -> Iterator[KeycloakServer]:
    port = free_port()
    words = json.loads((home / SECRETS).read_text(encoding="utf-8"))
    server = KeycloakServer(url=f"http://127.0.0.1:{port}", **words)
    log_file = home / "server.log"
    with log_file.open("wb") as log:
        process = subprocess.Popen(
            [
                *(str(home / "bin" / "kc.sh"), "start", "--optimized", *options),
                # Without the cluster that it would look for on every network.
                *("--cache=local", "--http-enabled=true", "--hostname-strict=false"),
                *("--http-host=127.0.0.1", f"--http-port={port}"),
            ],
            env=_environment(server.admin_password),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    try:
        wait_until_ready(process, lambda: _answers(server), log_file=log_file)
        yield server
    finally:
        stop(process)


def _environment(admin_password: str) -> dict[str, str]:
    inherited = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("KC_", "KEYCLOAK_", "JAVA_"))
    }
    return inherited | {
        "KC_BOOTSTRAP_ADMIN_USERNAME": "admin",
        "KC_BOOTSTRAP_ADMIN_PASSWORD": admin_password,
        "JAVA_OPTS_KC_HEAP": "-Xms64m -Xmx384m",
        # It lives for a minute: to compile better and collect in parallel costs more.
        "JAVA_OPTS_GC": "-XX:+UseSerialGC",
        "JAVA_OPTS_APPEND": "-XX:TieredStopAtLevel=1",
        # So kc.sh becomes Java, and what we stop is that.
        "JAVA": "exec' 'java",
    }


def _answers(server: KeycloakServer) -> bool:
    try:
        address = f"{server.issuer}/.well-known/openid-configuration"
        return requests.get(address, timeout=5).ok
    except requests.RequestException:
        return False
