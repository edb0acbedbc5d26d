"""One client of a race, as a process of its own: ready, go, one request, its answer.

It imports the standard library alone, so that sixteen of them start at once. The
first line of its input is the request; ``ready`` is printed once it has connected;
the second line lets it go. Its last line is the answer.
"""

import http.client
import json
import sys

TIMEOUT_SECONDS = 120.0


def main() -> None:
    """Take part in one race."""
    request = json.loads(sys.stdin.readline())
    connection = http.client.HTTPConnection(
        "127.0.0.1", request["port"], timeout=TIMEOUT_SECONDS
    )
    connection.connect()
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    sys.stdin.readline()
    connection.request(
        "POST",
        request["path"],
        body=json.dumps(request["body"]),
        headers={"Content-Type": "application/json", **request["headers"]},
    )
    answer = connection.getresponse()
    report = {
        "status": answer.status,
        "headers": dict(answer.getheaders()),
        "text": answer.read().decode(),
    }
    sys.stdout.write(json.dumps(report) + "\n")


if __name__ == "__main__":
    main()
