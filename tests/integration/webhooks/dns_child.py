"""Sends to names of a real name server, in a network that has nothing else.

Run inside ``unshare --net --mount`` with the path of a file that stands in for
``/etc/resolv.conf``. It prints, as JSON by name, the errors of each send in turn and
how many requests came.
"""

import fcntl
import json
import socket
import struct
import subprocess
import sys

from tests.hostile_receivers import BODY, NOW
from tests.integration.webhooks.hostile import black_holes
from tests.name_server import NXDOMAIN, SERVFAIL, Entry, NameServer
from tests.receiver import Receiver
from webhooks.sending.guard import AddressGuard
from webhooks.sending.sender import Sender, Timeouts

LOCAL, PUBLIC = "127.0.0.1", "93.184.216.34"
HOLES = [f"127.0.1.{number}" for number in range(1, 65)]
HOSTILE = {
    "nxdomain.test": [Entry(error=NXDOMAIN)],
    "servfail.test": [Entry(error=SERVFAIL)],
    "silent.test": [Entry(is_silent=True)],
    "nothing.test": [Entry()],
    "mixed.test": [Entry([PUBLIC, LOCAL])],
    "families.test": [Entry([PUBLIC, "::1"])],
    "alias.test": [Entry([LOCAL], alias="inside.test")],
    "metadata.test": [Entry(["169.254.169.254"])],
    "six.test": [Entry(["fd00:ec2::254"])],
    "mapped.test": [Entry([f"::ffff:{LOCAL}"])],
    # The first answer is public; nothing public can be reached from here.
    "rebinding.test": [Entry([PUBLIC]), Entry([LOCAL])],
}
ALLOWED = {"good.test": [Entry([LOCAL])], "holes.test": [Entry(HOLES)]}


def bring_up_loopback() -> None:
    set_flags, is_up = 0x8914, 1
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        request = struct.pack("16sh", b"lo", is_up)
        fcntl.ioctl(any_socket, set_flags, request)


def main(resolv_conf: str) -> None:
    """Send twice to each hostile name, and once to those that are allowed."""
    bring_up_loopback()
    subprocess.run(("mount", "--bind", resolv_conf, "/etc/resolv.conf"), check=True)
    NameServer({**HOSTILE, **ALLOWED}).start()
    found: dict[str, object] = {}
    strict = Sender(AddressGuard(allow_http=True), timeouts=Timeouts(3, 3, 5))
    with Receiver(port=80) as receiver:
        for name in HOSTILE:
            results = [
                strict.send(f"http://{name}/", BODY, {}, now=NOW) for _ in range(2)
            ]
            found[name] = [result.error for result in results]
        found["reached"] = len(receiver.requests)
    loose = AddressGuard(["127.0.0.0/8"], allow_http=True)
    with Receiver(port=80) as receiver:
        good = Sender(loose).send("http://good.test/", BODY, {}, now=NOW)
        found["good.test"] = [good.status, len(receiver.requests)]
    with black_holes(HOLES) as port:
        slow = Sender(loose, timeouts=Timeouts(1, 1, 2))
        result = slow.send(f"http://holes.test:{port}/", BODY, {}, now=NOW)
        found["holes.test"] = [result.error, sorted(result.timings)]
    sys.stdout.write(json.dumps(found))


if __name__ == "__main__":
    main(sys.argv[1])
