"""Which addresses lie in one another, whatever they are written like."""

import pytest

from registry.artifacts.addresses import do_overlap


@pytest.mark.parametrize(
    ("one", "other", "overlap"),
    [
        ("s3://bucket/root/artifacts/v1", "s3://bucket/root/artifacts", True),
        ("s3://bucket/root/artifacts", "s3://bucket/root/artifacts", True),
        ("s3://bucket/root/", "s3://bucket/root/artifacts", True),
        ("S3://bucket", "s3://bucket/root/artifacts", True),
        ("s3://bucket/root/artifacts-2", "s3://bucket/root/artifacts", False),
        ("s3://other/root/artifacts", "s3://bucket/root/artifacts", False),
        ("file:///data/%61rtifacts/v1", "file:///data/artifacts", True),
        ("/data/./artifacts//v1", "file:///data/artifacts", True),
        ("/data/artifacts-2", "file:///data/artifacts", False),
        ("gs://bucket/root/artifacts", "s3://bucket/root/artifacts", False),
        ("s3://bucket/data", "file:///bucket/data", False),
    ],
)
def test_address_lies_in_another_by_what_it_leads_through(
    one: str, other: str, *, overlap: bool
) -> None:
    assert do_overlap(one, other) is overlap
    assert do_overlap(other, one) is overlap
