"""A folder served over HTTP by a thread, which can be told to fail: what a test reads instead of the network."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit


class Server(ThreadingHTTPServer):
    """Serves `folder` at `url`.

    Attributes:
        asked: number of requests by (method, path with the query).
        failing: statuses that the next requests are answered with, one each.
        cut: bytes after which the connection is closed; None for whole files.
    """

    daemon_threads = True

    def __init__(self, folder: Path) -> None:
        super().__init__(("127.0.0.1", 0), partial(_Handler, directory=str(folder)))
        self.url = f"http://127.0.0.1:{self.server_address[1]}"
        self.asked: Counter[tuple[str, str]] = Counter()
        self.failing: list[int] = []
        self.cut: int | None = None


class _Handler(SimpleHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        if not self._failed():
            super().do_GET()

    def do_HEAD(self) -> None:
        if not self._failed():
            super().do_HEAD()

    def _failed(self) -> bool:
        self.server.asked[self.command, self.path] += 1
        if self.server.failing:
            self.send_error(self.server.failing.pop(0))
            return True
        return False

    def copyfile(self, source, outputfile) -> None:
        if self.server.cut is None or urlsplit(self.path).path.endswith("/"):
            super().copyfile(source, outputfile)
        else:
            outputfile.write(source.read(self.server.cut))

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def served(folder: Path) -> Iterator[Server]:
    """The server of a folder, which must be there, for the time of the block."""
    with Server(folder) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()
