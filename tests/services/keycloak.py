"""A real Keycloak for the tests, with the realm that ``config/`` has as an example.

- Maven fetches the distribution (160 MB) once; it is unpacked into the cache.
- Each run has a copy of what Keycloak writes to, and a port of 127.0.0.1.
- ``CI=true`` requires it; elsewhere its absence is said.
"""

import contextlib
import dataclasses
import json
import os
import re
import secrets
import shutil
import subprocess
import tempfile
import zipfile
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import requests

from tests.services.cache import cache_directory
from tests.services.processes import free_port, stop, wait_until_ready

VERSION = "26.4.0"
ARTIFACT = f"org.keycloak:keycloak-quarkus-dist:{VERSION}:zip"
REALM_FILE = Path(__file__).parents[2] / "config" / "keycloak-realm.json"
REALM = "stagegate"
MIN_JAVA = 17
WITHOUT_KEYCLOAK = f"no Java {MIN_JAVA} with Maven that can fetch {ARTIFACT}"


def directory() -> Path:
    """Where the unpacked distribution is kept from one run to the next."""
    return cache_directory() / f"keycloak-{VERSION}"


def find() -> Path | None:
    """The unpacked distribution, where there is Java to run it."""
    is_there = (directory() / "bin" / "kc.sh").exists()
    return directory() if is_there and _has_java() else None


def describe() -> str:
    """What the tests will sign in at, in half a line."""
    if find():
        return f"Keycloak {VERSION} ({directory()})"
    if _has_java() and shutil.which("mvn"):
        return f"Keycloak {VERSION}, to be fetched first (160 MB, once)"
    return f"MISSING: {WITHOUT_KEYCLOAK}"


def provide() -> Path | None:
    """The distribution, fetched now when that is still to be done."""
    if find() or not (_has_java() and shutil.which("mvn")):
        return find()
    target = directory()
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix="unpack-") as name:
        archive = _fetch(Path(name))
        if archive is None:
            return None
        with zipfile.ZipFile(archive) as distribution:
            distribution.extractall(name)
        unpacked = Path(name) / f"keycloak-{VERSION}"
        (unpacked / "bin" / "kc.sh").chmod(0o755)
        with contextlib.suppress(OSError):  # another run was faster
            unpacked.rename(target)
    return find()


def _fetch(directory: Path) -> Path | None:
    """Have Maven fetch the archive into a repository of its own, below a directory.

    Its usual one is in the home of the account, whatever ``HOME`` says.
    """
    repository = directory / "repository"
    fetched = subprocess.run(
        [
            *("mvn", "-q", f"-Dmaven.repo.local={repository}", "dependency:get"),
            *(f"-Dartifact={ARTIFACT}", "-Dtransitive=false"),
        ],
        check=False,
    )
    found = repository.rglob(f"keycloak-quarkus-dist-{VERSION}.zip")
    return next(found, None) if fetched.returncode == 0 else None


@cache
def _has_java() -> bool:
    if not shutil.which("java"):
        return False
    said = subprocess.run(
        ["java", "-version"], capture_output=True, text=True, check=False
    ).stderr
    found = re.search(r'version "(\d+)', said)
    return found is not None and int(found[1]) >= MIN_JAVA


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
    with tempfile.TemporaryDirectory(
        prefix="stagegate-keycloak-", ignore_cleanup_errors=True
    ) as name:
        home = _home(distribution, Path(name))
        port = free_port()
        server = KeycloakServer(
            url=f"http://127.0.0.1:{port}",
            admin_password=secrets.token_hex(12),
            password=secrets.token_hex(12),
            client_secret=secrets.token_hex(16),
        )
        _write_realm(home, server)
        log_file = home / "server.log"
        with log_file.open("wb") as log:
            process = subprocess.Popen(
                [
                    *(home / "bin" / "kc.sh", "start-dev", "--import-realm"),
                    *("--http-host=127.0.0.1", f"--http-port={port}"),
                ],
                env=_environment(server),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        try:
            wait_until_ready(process, lambda: _answers(server), log_file=log_file)
            yield server
        finally:
            stop(process)


def _home(distribution: Path, directory: Path) -> Path:
    """Copy what Keycloak writes to; its libraries (150 MB) are shared."""
    home = directory / "keycloak"
    libraries = distribution / "lib" / "lib"
    shutil.copytree(
        distribution,
        home,
        ignore=lambda name, _: {"lib"} if Path(name) == libraries.parent else set(),
    )
    (home / "lib" / "lib").symlink_to(libraries)
    return home


def _write_realm(home: Path, server: KeycloakServer) -> None:
    """Import the example, with passwords of this run."""
    realm = json.loads(REALM_FILE.read_text(encoding="utf-8"))
    for user in realm["users"]:
        for credential in user.get("credentials", ()):
            credential["value"] = server.password
    for client in realm["clients"]:
        if "secret" in client:
            client["secret"] = server.client_secret
    target = home / "data" / "import"
    target.mkdir(parents=True, exist_ok=True)
    (target / "realm.json").write_text(json.dumps(realm), encoding="utf-8")


def _environment(server: KeycloakServer) -> dict[str, str]:
    inherited = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("KC_", "KEYCLOAK_"))
    }
    return inherited | {
        "KC_BOOTSTRAP_ADMIN_USERNAME": "admin",
        "KC_BOOTSTRAP_ADMIN_PASSWORD": server.admin_password,
        "JAVA_OPTS_KC_HEAP": "-Xms64m -Xmx384m",
    }


def _answers(server: KeycloakServer) -> bool:
    try:
        address = f"{server.issuer}/.well-known/openid-configuration"
        return requests.get(address, timeout=5).ok
    except requests.RequestException:
        return False
