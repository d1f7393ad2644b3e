"""`python tests/editors/hub.py`: a hub on this machine that has one model, `own/small`: the embedded one.

Prints its address, then holds back the second half of the weights until a line comes in, so that a test can
look at a download for as long as it likes. Ends with its input.
"""

from __future__ import annotations

import hashlib
import json
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

NAME = "own/small"
COMMIT = "0123456789abcdef0123456789abcdef01234567"
FOLDER = Path(__file__).parents[2] / "engine" / "models" / "embedded"
FILES = {path.name: path.read_bytes() for path in FOLDER.iterdir() if path.suffix != ".md"}
WEIGHTS = "model.safetensors"

released = threading.Event()


class Hub(BaseHTTPRequestHandler):
    """Answers as the hub does, as far as its client asks."""

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def do_GET(self) -> None:
        self._answer(body=True)

    def _answer(self, *, body: bool) -> None:
        path = self.path.partition("?")[0]
        file = path.removeprefix(f"/{NAME}/resolve/").rpartition("/")[2]
        if path.startswith(f"/api/models/{NAME}"):
            tree = [{"type": "file", "path": n, "size": len(b), "oid": n} for n, b in FILES.items()]
            about = {"id": NAME, "sha": COMMIT, "siblings": [{"rfilename": name} for name in FILES]}
            self._send(200, json.dumps(tree if "/tree/" in path else about).encode(), body=body)
        elif path.startswith(f"/{NAME}/resolve/") and file in FILES:
            asked = self.headers.get("Range", "")
            first, _, last = asked.removeprefix("bytes=").partition("-")
            part = FILES[file][int(first) : int(last) + 1 if last else None] if asked else FILES[file]
            self._send(206 if asked else 200, part, body=body, held=file == WEIGHTS)
        else:
            self._send(404, b"{}", body=body)

    def _send(self, status: int, content: bytes, *, body: bool, held: bool = False) -> None:
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.send_header("X-Repo-Commit", COMMIT)
        self.send_header("ETag", f'"{hashlib.sha1(content).hexdigest()}"')
        self.end_headers()
        if body:
            half = len(content) // 2 if held else len(content)
            self.wfile.write(content[:half])
            self.wfile.flush()
            if held:
                released.wait()
            self.wfile.write(content[half:])

    def log_message(self, format: str, *args: object) -> None:
        """Quiet."""


def main() -> None:
    """Serve until the input ends."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    print(f"http://127.0.0.1:{server.server_port}", flush=True)
    for _line in sys.stdin:
        released.set()


if __name__ == "__main__":
    main()
