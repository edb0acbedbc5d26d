"""What every test may ask for: the services, a receiver, Hypothesis profiles."""

import gc
import os
import signal
import sys
import tempfile
import uuid
from collections import Counter
from collections.abc import Iterable, Iterator
from functools import cached_property
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings
from xdist.scheduler import LoadFileScheduling

from tests.receiver import Receiver
from tests.services import keycloak as keycloak_service
from tests.services import keycloak_distribution
from tests.services import minio as minio_service
from tests.services import postgres as postgres_service
from tests.services.absence import is_required, report_absence

OBJECT_STORE = pytest.StashKey[str]()
MEASURED = pytest.StashKey[frozenset[str]]()
#: Where files cost no waiting for a disk, if that much is free there.
MEMORY = Path("/dev/shm")  # noqa: S108  # What tests make there has names of its own.
ENOUGH_BYTES = 4 * 1024**3
#: Few tests, each of which takes long.
SLOW = (
    "tests/browser/",
    "tests/crash/",
    "tests/integration/cli/",
    "tests/integration/examples/",
    "tests/integration/serving/",
    "tests/integration/webhooks/test_many.py",
    "tests/integration/webhooks/test_processes.py",
    "tests/mlflow/",
    "tests/service/",
    "tests/stateful/",
)

# "ci" is what every run uses: the same examples each time, few enough for a
# machine of two cores. "long" looks for new ones: --hypothesis-profile=long.
# Neither has a deadline, because a busy machine is not a failing test.
settings.register_profile(
    "ci", derandomize=True, max_examples=50, deadline=None, print_blob=True
)
settings.register_profile("long", max_examples=2000, deadline=None, print_blob=True)
settings.load_profile("ci")


def pytest_configure(config: pytest.Config) -> None:
    """Undo what a shell gives its background jobs: to ignore Ctrl-C.

    Programs that a test starts would inherit it, and could not be interrupted.
    """
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if hasattr(config, "workerinput"):
        # Coverage is of the tests' own processes: that of servers doubles their cost.
        os.environ.pop("COVERAGE_PROCESS_CONFIG", None)
    elif (measuring := _coverage()) and config.getoption("numprocesses", None):
        # This process runs no test: it hands them out and writes what came of them.
        measuring.stop()
    if "TMPDIR" not in os.environ and _has_room(MEMORY):
        os.environ["TMPDIR"] = tempfile.tempdir = str(MEMORY)


def _coverage() -> Any:  # noqa: ANN401  # the tool may not be there
    """What measures coverage in this process; None where nothing does."""
    if "coverage" not in sys.modules:
        return None
    return sys.modules["coverage"].Coverage.current()


def _has_room(directory: Path) -> bool:
    """Whether databases and artifacts fit there, and programs start from there."""
    try:
        found = os.statvfs(directory)
    except OSError:
        return False
    has_space = found.f_bavail * found.f_frsize >= ENOUGH_BYTES
    return has_space and not found.f_flag & os.ST_NOEXEC


#: Clock, claims and portions of rows are others there.
OF_POSTGRESQL = (
    "tests/integration/webhooks/test_clock.py",
    "tests/integration/webhooks/test_claims.py",
    "tests/integration/api/test_large_pages.py",
)

#: Others run all lines that these run, or nearly: coverage would only slow them.
COVERED_BY_OTHERS = (
    "tests/integration/api/test_audit.py",
    "tests/integration/api/test_event_types.py",
    "tests/integration/api/test_identity_headers.py",
    "tests/integration/api/test_largest_events.py",
    "tests/integration/api/test_model_permissions.py",
    "tests/integration/api/test_opt_in_events.py",
    "tests/integration/api/test_own_address.py",
    "tests/integration/artifacts/",
    "tests/integration/cli/test_database_trouble.py",
    "tests/integration/cli/test_deployed.py",
    "tests/integration/cli/test_gates.py",
    "tests/integration/cli/test_import.py",
    "tests/integration/cli/test_jobs_that_run_again.py",
    "tests/integration/cli/test_output_trouble.py",
    "tests/integration/examples/",
    "tests/integration/mlflow_api/test_prompts.py",
    "tests/integration/mlflow_api/test_recorded.py",
    "tests/integration/openapi/test_http_edges.py",
    "tests/integration/serving/",
    "tests/integration/test_gates_migrate.py",
    "tests/integration/test_live_deliveries_migrate.py",
    "tests/integration/test_release_before_migrates.py",
    "tests/integration/test_start.py",
    "tests/integration/test_statement_counts.py",
    "tests/integration/webhooks/test_many.py",
    "tests/integration/webhooks/test_processes.py",
    "tests/unit/test_dependencies.py",
)


#: Each case runs other lines there. Elsewhere one of a test's cases stands for all.
BY_CASE = ("tests/unit/", "tests/integration/webhooks/")


def measured(nodeids: Iterable[str]) -> frozenset[str]:
    """The tests that coverage is asked of: what runs the same lines, only once."""
    chosen = set()
    cases: dict[str, str] = {}
    for nodeid in sorted(filter(_may_be_measured, nodeids)):
        if nodeid.startswith(BY_CASE):
            chosen.add(nodeid)
        cases.setdefault(nodeid.partition("[")[0], nodeid)
    return frozenset(chosen.union(cases.values()))


def _may_be_measured(nodeid: str) -> bool:
    is_once = "postgresql" not in nodeid or nodeid.startswith(OF_POSTGRESQL)
    is_here = nodeid.startswith(("tests/unit/", "tests/integration/"))
    return is_here and is_once and not nodeid.startswith(COVERED_BY_OTHERS)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(
    config: pytest.Config, items: list[pytest.Item]
) -> None:
    """Begin with what is measured, then with what takes long.

    So no process ends long after the others.
    """
    chosen = config.stash[MEASURED] = measured(item.nodeid for item in items)
    sizes = Counter(item.path for item in items)
    items.sort(
        key=lambda item: (
            item.nodeid not in chosen,
            not item.nodeid.startswith(SLOW),
            -sizes[item.path],
        )
    )


@pytest.hookimpl(trylast=True)
def pytest_collection_finish() -> None:
    """Spare the garbage collector the ten thousand tests, which stay to the end."""
    gc.collect()
    gc.freeze()


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """End the measuring, which makes tests half as slow again, with what it is for."""
    measuring = _coverage()
    if measuring is not None and item.nodeid not in item.config.stash[MEASURED]:
        measuring.stop()
        measuring.save()


#: Their server takes longer to start than most of their tests.
USE_MLFLOWS_OWN = (
    "tests/mlflow/test_import.py",
    "tests/mlflow/test_tracked_artifacts.py",
)


class _ByFile(LoadFileScheduling):  # type: ignore[misc]  # xdist has no types
    """Keep a file in one process, and all that looks at the one built image.

    What is measured of a file comes by itself, and before the rest. Of the conformance
    cases each server has its own; others share MLflow's own server.
    """

    @cached_property
    def _measured(self) -> frozenset[str]:
        return measured(self.collection)

    def _split_scope(self, nodeid: str) -> str:
        if nodeid.startswith("tests/mlflow/test_conformance.py"):
            return nodeid
        if nodeid.startswith(USE_MLFLOWS_OWN):
            return USE_MLFLOWS_OWN[0]
        if nodeid.startswith("tests/deploy/"):
            return "tests/deploy"
        file = nodeid.split("::", 1)[0]
        return f"{file}, measured" if nodeid in self._measured else file


def pytest_xdist_make_scheduler(
    config: pytest.Config,
    log: Any,  # noqa: ANN401  # xdist has no type for it.
) -> _ByFile:
    return _ByFile(config, log)


def pytest_report_header() -> list[str]:
    binaries = postgres_service.find_binaries()
    return [
        f"PostgreSQL: {binaries.description if binaries else 'MISSING'}",
        f"S3: {minio_service.describe()}",
        f"Keycloak: {keycloak_distribution.describe()}",
    ]


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Hand on what one of several processes knows."""
    measuring = _coverage()
    if measuring is not None and hasattr(session.config, "workerinput"):
        # At its end it may be killed for being slow, and would leave nothing.
        measuring.save()
    used = session.config.stash.get(OBJECT_STORE, None)
    if used is not None and hasattr(session.config, "workeroutput"):
        session.config.workeroutput["object_store"] = used


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:  # noqa: ANN401  # xdist has no type for it.
    used = getattr(node, "workeroutput", {}).get("object_store")
    if used is not None:
        node.config.stash[OBJECT_STORE] = used


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    """Say what the S3 tests really talked to: a build may have failed meanwhile."""
    used = config.stash.get(OBJECT_STORE, None)
    if used is not None:
        terminalreporter.write_line(f"S3 tests ran against {used}")


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[postgres_service.PostgresServer]:
    """The one PostgreSQL of this test run."""
    binaries = postgres_service.find_binaries()
    if binaries is None:
        report_absence("no PostgreSQL server programs and no wheel that bundles them")
    with postgres_service.run_server(binaries) as server:
        yield server


@pytest.fixture
def postgres_url(
    postgres_server: postgres_service.PostgresServer,
) -> Iterator[str]:
    """The SQLAlchemy URL of an empty database of this test's own."""
    with postgres_server.fresh_database() as url:
        yield url


@pytest.fixture(scope="session")
def minio(
    pytestconfig: pytest.Config,
) -> Iterator[minio_service.ObjectStoreServer]:
    """The one object store of this test run; ``is_real`` tells whether it is MinIO."""
    program = minio_service.provide_program()
    if program is None and is_required():
        report_absence(minio_service.WITHOUT_MINIO)
    with minio_service.run_server(program) as server:
        pytestconfig.stash[OBJECT_STORE] = server.description
        yield server


@pytest.fixture(scope="session")
def keycloak() -> Iterator[keycloak_service.KeycloakServer]:
    """The one Keycloak of this test run, with the example's realm."""
    distribution = keycloak_distribution.provide()
    if distribution is None:
        report_absence(keycloak_distribution.WITHOUT_KEYCLOAK)
    with keycloak_service.run_server(distribution) as server:
        yield server


@pytest.fixture
def bucket(minio: minio_service.ObjectStoreServer) -> Iterator[str]:
    """The name of an empty bucket of this test's own."""
    name = f"test-{uuid.uuid4().hex}"
    minio.client().make_bucket(bucket_name=name)
    yield name
    minio.remove_bucket(name)


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    """A webhook receiver that answers 200 until the test tells it otherwise."""
    with Receiver() as running:
        yield running
