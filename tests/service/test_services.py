import io

import psycopg
import pytest
from standardwebhooks.webhooks import Webhook

from tests.services.minio import ObjectStoreServer
from tests.services.postgres import PostgresServer

pytestmark = pytest.mark.service


def psycopg_url(url: str) -> str:
    return url.replace("postgresql+psycopg://", "postgresql://")


def test_postgres_answers_a_query(postgres_url: str) -> None:
    with psycopg.connect(psycopg_url(postgres_url)) as connection:
        answer = connection.execute("SELECT 1").fetchone()

    assert answer == (1,)


def test_every_database_is_empty_and_gone_afterwards(
    postgres_server: PostgresServer,
) -> None:
    with (
        postgres_server.fresh_database() as url,
        psycopg.connect(psycopg_url(url)) as connection,
    ):
        tables = connection.execute(
            "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'"
        ).fetchone()

    assert tables == (0,)
    with pytest.raises(psycopg.OperationalError, match="does not exist"):
        psycopg.connect(psycopg_url(url))


def test_object_store_gives_back_what_was_put(
    minio: ObjectStoreServer, bucket: str
) -> None:
    client = minio.client()
    client.put_object(
        bucket_name=bucket, object_name="a/b.bin", data=io.BytesIO(b"12345"), length=5
    )

    response = client.get_object(bucket_name=bucket, object_name="a/b.bin")

    assert response.read() == b"12345"
    response.close()
    response.release_conn()


def test_webhook_library_is_the_real_one() -> None:
    assert Webhook.__module__ == "standardwebhooks.webhooks"
