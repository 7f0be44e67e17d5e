"""The command ``python`` of `tests.warm`: hands a job to the server and exits as it does.

Run without site-packages, so that it starts in a few milliseconds.
"""

import array
import json
import os
import socket
import sys
from pathlib import Path


def main(address: str, real: str, arguments: list[str]) -> int:
    """Have one command line run, in this folder, environment and streams."""
    threads = arguments[arguments.index("--threads") + 1] if "--threads" in arguments else "1"
    if arguments[:2] != ["-m", "hsivi"] or threads != "1":
        os.execv(real, [real, *arguments])
    asked = {"folder": str(Path.cwd()), "environment": dict(os.environ), "arguments": ["hsivi", *arguments[2:]]}
    message = json.dumps(asked).encode()
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(address)
        streams = (socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [0, 1, 2]))
        connection.sendmsg([b"%8d" % len(message)], [streams])
        connection.sendall(message)
        return (connection.recv(1) or b"\x01")[0]  # nothing where the process was ended by a signal


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2], sys.argv[3:]))
