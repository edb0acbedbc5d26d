"""Moves one file into or out of a store, and reports what that took of memory.

Run as a program, so that the figure is that of a fresh process.
"""

import hashlib
import io
import json
import os
import resource
import sys
import time
from pathlib import Path
from typing import BinaryIO, cast

from registry.artifacts.opening import open_store
from registry.artifacts.store import ArtifactStore, S3Access


class Zeros(io.RawIOBase):
    """A stream of zeros that is never in memory as a whole."""

    def __init__(self, size_bytes: int) -> None:
        self._left = size_bytes

    def read(self, size: int = -1) -> bytes:
        count = min(size, self._left)
        self._left -= count
        return bytes(count)


def main() -> None:
    direction, root, source, size_text = sys.argv[1:]
    access = None
    if root.startswith("s3://"):
        access = S3Access(
            endpoint_url=os.environ["ENDPOINT_URL"],
            access_key=os.environ["ACCESS_KEY"],
            secret_key=os.environ["SECRET_KEY"],
            region="us-east-1",
        )
    store = open_store(root, access)
    started = time.monotonic()
    passed_bytes = (
        _write(store, source, int(size_text))
        if direction == "write"
        else _read(store, source)
    )
    report = {
        "passed_bytes": passed_bytes,
        "resident_bytes": _peak_resident_bytes(),
        "seconds": time.monotonic() - started,
    }
    sys.stdout.write(json.dumps(report))


def _peak_resident_bytes() -> int:
    """The kernel's high-water mark of this program alone.

    On Linux ``ru_maxrss`` would not do: it is inherited from the process that
    started this one.
    """
    status = Path("/proc/self/status")
    if not status.exists():
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    lines = status.read_text(encoding="ascii").splitlines()
    (mark,) = (line for line in lines if line.startswith("VmHWM:"))
    return int(mark.split()[1]) * 1024


def _write(store: ArtifactStore, source: str, size_bytes: int) -> int:
    stream = cast("BinaryIO", Zeros(size_bytes))
    return store.write(source, "model.bin", stream, size_bytes).size_bytes


def _read(store: ArtifactStore, source: str) -> int:
    digest = hashlib.sha256()
    passed_bytes = 0
    with store.open(source, "model.bin") as chunks:
        for chunk in chunks:
            digest.update(chunk)
            passed_bytes += len(chunk)
    return passed_bytes


if __name__ == "__main__":
    main()
