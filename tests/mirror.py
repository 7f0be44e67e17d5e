"""A web server on this machine that has files, hands out the rest of one, and misbehaves when asked to."""

import contextlib
import functools
import http.server
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field


@dataclass
class Mirror:
    """What the server has, what it was asked, and how it misbehaves.

    Attributes:
        url: its address.
        files: content by path.
        asked: path and wanted range of every request.
        ranges: whether it continues files.
        length: whether it says how long a file is.
        cut: bytes after which it hangs up.
        stall: bytes after which it sends nothing more, until the event is set.
    """

    url: str
    files: dict[str, bytes] = field(default_factory=dict)
    asked: list[tuple[str, str | None]] = field(default_factory=list)
    ranges: bool = True
    length: bool = True
    cut: int | None = None
    stall: int | None = None
    goes_on: threading.Event = field(default_factory=threading.Event)


class Handler(http.server.BaseHTTPRequestHandler):
    def __init__(self, mirror: Mirror, *args):
        self.mirror = mirror
        super().__init__(*args)

    def log_message(self, *args):
        pass

    def do_GET(self):
        mirror, wanted = self.mirror, self.headers.get("Range")
        mirror.asked.append((self.path, wanted))
        if self.path not in mirror.files:
            self.send_error(404)
            return
        content, start = mirror.files[self.path], 0
        if wanted and mirror.ranges:
            start = int(wanted.removeprefix("bytes=").removesuffix("-"))
            if start >= len(content):
                self.send_error(416)
                return
        self.send_response(206 if start else 200)
        if mirror.length:
            self.send_header("Content-Length", str(len(content) - start))
        self.end_headers()
        content = content[start:][: mirror.cut]
        if mirror.stall is None:
            self.wfile.write(content)
            return
        self.wfile.write(content[: mirror.stall])
        mirror.goes_on.wait(60)
        with contextlib.suppress(OSError):  # who asked is gone
            self.wfile.write(content[mirror.stall :])


@contextlib.contextmanager
def serving() -> Iterator[Mirror]:
    """Serve files for the length of a block."""
    served = Mirror("")
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Handler, served)) as server:
        served.url = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=functools.partial(server.serve_forever, poll_interval=0.01))
        thread.start()
        try:
            yield served
        finally:
            served.goes_on.set()
            server.shutdown()
            thread.join()
