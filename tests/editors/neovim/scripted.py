"""A language server that does as a JSON file says, for what has to be the same on every screen.

`python scripted.py FILE`. In the file:

- `suggestions`: from the line up to the cursor to what is suggested there: texts, or objects with `text` and
  how many characters before and behind the cursor it replaces. Automatic requests get the first only.
- `commands`: from a command's name to `canvas` (texts shown one after another in place of `range`), `edits`
  applied afterwards, and its `result`.
- `fixes`: titles of quick fixes, each with the `edits` it resolves to.

What it received goes to FILE.log, one JSON message a line. It knows nothing of the real server.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

Json = dict[str, Any]


class Server:
    """The state of one connection; documents are synchronised as a whole."""

    def __init__(self, script: Path) -> None:
        self.script: Json = json.loads(script.read_text())
        self.log = script.with_suffix(".log").open("w")
        self.lines: list[str] = []
        self.uri, self.version = "", 0
        self.requests = 0

    def run(self) -> None:
        """Answer until the client leaves."""
        while (message := _read()) is not None:
            self.log.write(json.dumps(message) + "\n")
            self.log.flush()
            method = message.get("method", "")
            if method == "exit":
                return
            handler = getattr(self, method.replace("/", "_").replace("$", ""), None)
            result = handler(message.get("params")) if handler else None
            if "id" in message and method:
                _write({"id": message["id"], "result": result})

    def initialize(self, params: Json) -> Json:
        return {
            "capabilities": {
                "positionEncoding": "utf-16",
                "textDocumentSync": 1,
                "inlineCompletionProvider": {},
                "codeActionProvider": {"resolveProvider": True},
                "executeCommandProvider": {"commands": list(self.script.get("commands", {}))},
            }
        }

    def initialized(self, params: Json) -> None:
        status = {"state": "ready", "message": "ready (scripted)", "model": "scripted"}
        _write({"method": "infill/status", "params": status})

    def textDocument_didOpen(self, params: Json) -> None:
        document = params["textDocument"]
        self._text(document, document["text"])

    def textDocument_didChange(self, params: Json) -> None:
        self._text(params["textDocument"], params["contentChanges"][-1]["text"])

    def _text(self, document: Json, text: str) -> None:
        self.uri, self.version = document["uri"], document["version"]
        self.lines = text.replace("\r\n", "\n").split("\n")

    def textDocument_inlineCompletion(self, params: Json) -> Json:
        line, character = params["position"]["line"], params["position"]["character"]
        units = self.lines[line].encode("utf-16-le")
        found = self.script["suggestions"].get(units[: 2 * character].decode("utf-16-le"), [])
        if params["context"]["triggerKind"] == 2:
            found = found[:1]
        items = []
        for number, one in enumerate(found):
            wanted = one if isinstance(one, dict) else {"text": one}
            first, last = character - wanted.get("before", 0), character + wanted.get("behind", 0)
            where = {"start": {"line": line, "character": first}, "end": {"line": line, "character": last}}
            command = {"title": "", "command": "accepted", "arguments": [{"id": str(number)}]}
            items.append({"insertText": wanted["text"], "range": where, "command": command})
        return {"items": items}

    def workspace_executeCommand(self, params: Json) -> Json | None:
        does = self.script.get("commands", {}).get(params["command"], {})
        for step, text in enumerate(does.get("canvas", [])):
            shown = {"text": text, "range": does["range"], "step": step, "confidences": [0.1, 0.9]}
            self._notify_canvas({**shown, "done": False})
        if "edits" in does:
            self.requests += 1
            edit = {"changes": {self.uri: does["edits"]}}
            _write({"id": f"edit {self.requests}", "method": "workspace/applyEdit", "params": {"edit": edit}})
        result: Json | None = does.get("result")
        return result

    def _notify_canvas(self, shown: Json) -> None:
        here = {"uri": self.uri, "version": self.version}
        _write({"method": "infill/canvas", "params": {**here, **shown}})

    def textDocument_codeAction(self, params: Json) -> list[Json]:
        titles = self.script.get("fixes", {})
        return [{"title": title, "kind": "quickfix", "data": title} for title in titles]

    def codeAction_resolve(self, action: Json) -> Json:
        return {**action, "edit": {"changes": {self.uri: self.script["fixes"][action["data"]]}}}


def _read() -> Json | None:
    length = 0
    while (line := sys.stdin.buffer.readline()) not in (b"\r\n", b""):
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            length = int(value)
    return json.loads(sys.stdin.buffer.read(length)) if length else None


def _write(message: Json) -> None:
    body = json.dumps({"jsonrpc": "2.0", **message}).encode()
    sys.stdout.buffer.write(b"Content-Length: %d\r\n\r\n" % len(body) + body)
    sys.stdout.buffer.flush()


if __name__ == "__main__":
    Server(Path(sys.argv[1])).run()
