"""Runs a command of the image as a pod would: read-only root, own /tmp, own data.

- Done with a mount namespace and chroot, where buildah has no read-only mode. The
  network is the machine's, so the server can be asked on 127.0.0.1.
- Each step ends in ``exec``: the process started is the command itself, and a
  signal sent to it is what an engine would send.
"""

import subprocess
from dataclasses import dataclass
from pathlib import Path

from tests.deploy.image import Image

UID = 10001

_ENTER = """
set -eu
root=$1 data=$2
shift 2
mount --bind "$root" "$root"
mount --bind "$data" "$root/var/lib/stagegate"
mount -t tmpfs -o mode=1777,size=64m tmpfs "$root/tmp"
mount --rbind /dev "$root/dev"
mount -o remount,bind,ro "$root"
exec chroot --userspec=10001:10001 --groups=10001 "$root" env --ignore-environment "$@"
"""


@dataclass(frozen=True)
class Pod:
    """The image, and the directory that is its data volume."""

    image: Image
    data: Path

    def command(self, *command: str) -> list[str]:
        """The command line that runs the image's program in the pod."""
        return [
            *("unshare", "--mount", "--propagation=private", "sh", "-c", _ENTER, "sh"),
            *(str(self.image.root), str(self.data)),
            *(*self.image.environment, *command),
        ]

    def run(self, *command: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self.command(*command),
            check=False,
            capture_output=True,
            text=True,
            timeout=120,
        )
