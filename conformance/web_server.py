"""Serves the explorer on this machine, to this machine."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Final

LOOPBACK: Final = "127.0.0.1"

_HEADERS: Final = {
    "Content-Type": "text/html; charset=utf-8",
    "Cache-Control": "no-store",
    # The page needs nothing that is not in it.
    "Content-Security-Policy": "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; base-uri 'none'",
}


@contextmanager
def serving(page: str, port: int) -> Iterator[str]:
    """Serve a page, and nothing else, while the context lasts; yield its URL. Port 0 is any that is free; OSError if it is taken."""
    content = page.encode()

    class Handler(BaseHTTPRequestHandler):
        """Answers with the page."""

        def do_GET(self) -> None:  # the base class looks for this name
            """Send the page, or that there is no other one."""
            if self.path not in ("/", "/index.html"):
                self.send_error(HTTPStatus.NOT_FOUND)
                return
            self.send_response(HTTPStatus.OK)
            for name, value in {**_HEADERS, "Content-Length": str(len(content))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # the base class's name
            """Say nothing: whoever has started the server looks at the page."""

    with ThreadingHTTPServer((LOOPBACK, port), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield f"http://{LOOPBACK}:{server.server_address[1]}/"
        finally:
            server.shutdown()
            thread.join()
