"""Harm of all kinds to an engine that a language server and another client use, and whether it comes back.

`python -m tests.engine.service.faults --rounds 500 --seed 1` for the long run; `--folder` names the engine's
folder, and where that lies on a file system of a few megabytes, such as a small tmpfs, it is really filled.
Elsewhere the engine is forbidden to write. The engine's model is a fake, everything else is real: processes,
sockets, signals, the language server. Ends with one JSON line.

After every round the engine has to answer both clients, there has to be one process of it, and the language
server may not have tried to change a document.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from engine.errors import EngineUnavailable
from engine.resident import ResidentEngine
from engine.service.lifecycle import is_alive, running, stop
from engine.service.place import FOLDER_VARIABLE, Address, Place
from tests.e2e.test_stdio_process import Peer, start
from tests.engine.service.harness import FAKE, answer, ask, client, until
from tests.fakes.service import FULL
from tests.lsp.session import URI, Json

_SMALL_BYTES = 64 * 2**20
_SERVER = [sys.executable, "-m", "tests.fakes.server", "--resident"]


class Editor:
    """A language server with one document, and what it has tried to do to that."""

    def __init__(self, peer: Peer) -> None:
        self._peer, self._ids, self._version = peer, 1000, 1
        self.text = "x = "
        peer.initialize()
        document = {"uri": URI, "languageId": "python", "version": 1, "text": self.text}
        peer.send("textDocument/didOpen", {"textDocument": document})

    def suggested(self, text: str) -> list[Json]:
        """Type, press the key, and wait for what is suggested: one answer, whatever has happened."""
        self._version, self._ids, self.text = self._version + 1, self._ids + 1, text
        document = {"uri": URI, "version": self._version}
        self._peer.send(
            "textDocument/didChange", {"textDocument": document, "contentChanges": [{"text": text}]}
        )
        position = {"line": 0, "character": len(text)}
        params = {
            "textDocument": {"uri": URI},
            "position": position,
            "context": {"triggerKind": 1},
        }
        self._peer.send("textDocument/inlineCompletion", params, self._ids)
        items: list[Json] = self._peer.answer(self._ids)["result"]["items"]
        return items

    def check(self) -> None:
        """Nothing but suggestions has come, and they belong where the cursor is."""
        edits = self._peer.seen("workspace/applyEdit")
        assert not edits, f"the server changed a document: {edits}"


class Ordeal:
    """One engine, its two clients, and the chance that decides what happens to them."""

    def __init__(self, place: Place, seed: int, editor: Editor, engine: ResidentEngine) -> None:
        self._place, self._chance, self._editor, self._engine = place, random.Random(seed), editor, engine
        self._typed, self._why = 0, ""
        self._open: list[socket.socket] = []
        self._kinds = (self._kill, self._stop, self._slow, self._half, self._full_disk, self._corrupt)
        self.tally: Counter[str] = Counter()
        self.back_s: list[float] = []

    def round(self) -> None:
        """Some harm; then all has to be as before.

        Raises:
            AssertionError: it is not.
        """
        kind = self._chance.choice(self._kinds)
        kind()
        self.tally[kind.__name__.strip("_")] += 1
        began, self._why = time.monotonic(), "nothing was suggested yet"
        try:
            until(self._serves)
        except AssertionError as error:
            where = f"round {self.tally.total()}, {kind.__name__}"
            raise AssertionError(f"{where}: it did not come back: {self._why}; {error}") from error
        self.back_s.append(time.monotonic() - began)
        for link in self._open:
            link.close()
        self._open.clear()
        self._editor.check()
        until(lambda: len(processes(self._place)) == 1)

    def _serves(self) -> bool:
        try:
            if answer(self._engine) != "1":
                return False
        except EngineUnavailable as error:
            self._why = str(error)
            return False
        self._typed += 1  # what was asked before would be answered from memory
        items = self._editor.suggested(f"x{self._typed} = ")
        self._why = f"the server suggests {items}"
        return [item["insertText"].strip() for item in items] == ["1"]

    def _kill(self) -> None:
        """With a request under way, which may end without a suggestion and in no other way."""
        steps = self._engine.denoise(ask("WAIT"), threading.Event())
        next(steps)
        os.kill(self._address().pid, signal.SIGKILL)
        with contextlib.suppress(EngineUnavailable):
            list(steps)
            raise AssertionError("a request outlived its engine")

    def _stop(self) -> None:
        """It stands still; its clients do not."""
        pid = self._address().pid
        os.kill(pid, signal.SIGSTOP)
        try:
            with contextlib.suppress(EngineUnavailable):
                list(self._engine.denoise(ask(deadline_ms=20), threading.Event()))
        finally:
            os.kill(pid, self._chance.choice([signal.SIGCONT, signal.SIGKILL]))

    def _slow(self) -> None:
        """A client that asks and does not read."""
        link = self._link(4096)
        body = json.dumps({"request": {"prompt": {"prefix": "WAIT"}}}).encode()
        link.sendall(b"POST /v1/fill HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(body) + body)

    def _half(self) -> None:
        """A request that breaks off: while it is open, or by closing it."""
        link = self._link()
        whole = b"POST /v1/fill HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n{"
        link.sendall(whole[: self._chance.randrange(1, len(whole))])
        if self._chance.random() < 0.5:
            link.close()

    def _full_disk(self) -> None:
        """Nothing can be written: one that runs goes on; one that begins cannot, and says so."""
        with full_disk(self._place, self._address().pid):
            assert answer(self._engine) == "1"
            if self._chance.random() < 0.5:
                self._kill()
                until(self._told)

    def _told(self) -> bool:
        try:
            answer(self._engine)
        except EngineUnavailable:
            return True
        return False

    def _corrupt(self) -> None:
        """A file that others rely on holds nonsense, or is gone."""
        path = self._place.folder / self._chance.choice(["engine.json", "engine.sock", "token", "start.lock"])
        if path.name == "engine.sock" or self._chance.random() < 0.3:
            path.unlink(missing_ok=True)
        else:
            path.write_bytes(self._chance.randbytes(self._chance.randrange(200)))

    def _address(self) -> Address:
        found: list[Address] = []

        def there() -> bool:
            address = running(self._place)
            found.extend([] if address is None else [address])
            return bool(found)

        until(there)
        return found[-1]

    def _link(self, buffer_bytes: int | None = None) -> socket.socket:
        link = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        if buffer_bytes is not None:
            link.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer_bytes)
        link.connect(self._address().socket)
        self._open.append(link)
        return link


def ordeal(place: Place, rounds: int, seed: int) -> Ordeal:
    """So many rounds; nothing is left of the engine after them.

    Raises:
        AssertionError: something was not as it has to be.
    """
    with environment(place), start(_SERVER, subprocess.DEVNULL) as peer:
        engine = client(place)
        trial = Ordeal(place, seed, Editor(peer), engine)
        for number in range(rounds):
            trial.round()
            if rounds >= 100 and number % 20 == 19:
                print(f"{number + 1} rounds, {dict(trial.tally)}", file=sys.stderr, flush=True)
        assert peer.leave() == 0
        engine.close()
    assert stop(place)
    assert not is_alive(place)
    until(lambda: not processes(place))
    return trial


@contextlib.contextmanager
def full_disk(place: Place, pid: int) -> Iterator[None]:
    """Nothing can be written to the engine's folder, by the engine `pid` or one that begins meanwhile."""
    if shutil.disk_usage(place.folder).total <= _SMALL_BYTES:
        ballast = place.folder / "ballast"
        with contextlib.suppress(OSError), ballast.open("wb", buffering=0) as file:
            while True:
                file.write(bytes(512))
        yield
        ballast.unlink()
    else:
        import resource

        (place.folder / FULL).touch()
        before = resource.prlimit(pid, resource.RLIMIT_FSIZE, (0, resource.RLIM_INFINITY))
        yield
        (place.folder / FULL).unlink()
        with contextlib.suppress(ProcessLookupError):
            resource.prlimit(pid, resource.RLIMIT_FSIZE, before)


def processes(place: Place, module: str = FAKE[-1]) -> list[int]:
    """The engines of a folder, whether they hold its lock or not; Linux only."""
    mark = f"{FOLDER_VARIABLE}={place.folder}".encode()
    out = []
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            command = (folder / "cmdline").read_bytes()
            if module.encode() in command and mark in (folder / "environ").read_bytes().split(b"\0"):
                out.append(int(folder.name))
    return out


@contextlib.contextmanager
def environment(place: Place) -> Iterator[None]:
    """Language servers that are started meanwhile find the engine in this folder."""
    before = os.environ.get(FOLDER_VARIABLE)
    os.environ[FOLDER_VARIABLE] = str(place.folder)
    try:
        yield
    finally:
        os.environ.pop(FOLDER_VARIABLE)
        if before is not None:
            os.environ[FOLDER_VARIABLE] = before


def main() -> None:
    """Parse the arguments and do it."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rounds", type=int, default=500)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--folder", type=Path)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="infill-") as folder:
        place = Place(folder=arguments.folder or Path(folder))
        try:
            trial = ordeal(place, arguments.rounds, arguments.seed)
        finally:
            stop(place)
    back = sorted(trial.back_s)
    result = {
        "rounds": arguments.rounds,
        "seed": arguments.seed,
        "kinds": dict(sorted(trial.tally.items())),
        "served_again": len(back),
        "back_p50_s": round(back[len(back) // 2], 2),
        "back_longest_s": round(back[-1], 2),
        "documents_changed": 0,  # or an assertion would have failed
        "processes_left": 0,
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
