"""``python -m tests.services``: which services the tests would use here.

With ``--build`` it also puts what is missing into the cache: MinIO, where Go is
there to build it, the environment that holds MLflow, and Keycloak with its realm,
where Maven is there to fetch it. The exit code is 1 when
CI=true and a required service is missing.
"""

import argparse
import sys

from tests.mlflow import environment as mlflow_environment
from tests.services import (
    go_build,
    keycloak,
    keycloak_distribution,
    minio,
    nginx,
    pgbouncer,
    postgres,
)
from tests.services.absence import is_required


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.services")
    parser.add_argument(
        "--build",
        action="store_true",
        help="build MinIO, install MLflow and fetch Keycloak when they are missing",
    )
    if parser.parse_args().build:
        build_minio()
        install_mlflow()
        fetch_keycloak()
    binaries = postgres.find_binaries()
    say(f"PostgreSQL: {binaries.description if binaries else 'MISSING'}")
    say(f"PgBouncer: {pgbouncer.find_program() or 'MISSING'}")
    say(f"nginx: {nginx.find_program() or 'MISSING'}")
    say(f"S3: {minio.describe()}")
    say(f"MLflow: {mlflow_environment.describe()}")
    say(f"Keycloak: {keycloak_distribution.describe()}")
    is_complete = (
        binaries is not None
        and pgbouncer.find_program() is not None
        and nginx.find_program() is not None
        and minio.find_program() is not None
        and mlflow_environment.find() is not None
        and keycloak_distribution.find() is not None
    )
    return 1 if is_required() and not is_complete else 0


def build_minio() -> None:
    if minio.find_program() is not None or not go_build.can_build():
        return
    say(
        f"building MinIO {minio.RELEASE} into {minio.cached_program()} "
        "(once, about three minutes on two cores)"
    )
    if minio.provide_program() is None:
        say("MinIO could not be built: see Go's message above")


def install_mlflow() -> None:
    if mlflow_environment.find() is not None:
        return
    say(
        f"installing MLflow {mlflow_environment.VERSION} into "
        f"{mlflow_environment.directory()} (once, about two minutes)"
    )
    if mlflow_environment.provide() is None:
        say("MLflow could not be installed: see pip's message above")


def fetch_keycloak() -> None:
    distribution = keycloak_distribution.provide()
    if distribution is None:
        say(f"no Keycloak: {keycloak_distribution.WITHOUT_KEYCLOAK}")
    else:
        keycloak.prepare(distribution)


def say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
