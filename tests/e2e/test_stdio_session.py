"""Over stdio, whatever an editor that knows everything could ask for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.e2e.test_stdio_process import SEAM, Json, Peer, inline, open_document, start
from tests.lsp.session import URI

CAPABILITIES: Json = {
    "general": {"positionEncodings": ["utf-16"]},
    "textDocument": {
        "inlineCompletion": {},
        "codeAction": {
            "codeActionLiteralSupport": {"codeActionKind": {"valueSet": ["refactor.rewrite"]}},
            "resolveSupport": {"properties": ["edit"]},
            "dataSupport": True,
            "tagSupport": {"valueSet": [1]},
        },
    },
    "window": {"workDoneProgress": True},
    "workspace": {"applyEdit": True, "workspaceEdit": {"documentChanges": True}},
}


def hello(peer: Peer, folder: Path | None = None, **options: object) -> None:
    """Shake hands as an editor that can do everything; it lets the server show progress."""
    folders = None if folder is None else [{"uri": folder.as_uri(), "name": "project"}]
    params = {"processId": None, "capabilities": CAPABILITIES, "workspaceFolders": folders}
    peer.send("initialize", {**params, "initializationOptions": {"debounce_ms": 0, **options}}, 1)
    peer.answer(1)
    peer.send("initialized", {})


def run(peer: Peer, message_id: int, command: str, *arguments: object, edits: int = 0) -> Any:
    """A command's result; the `edits` it wants applied are."""
    known = {message["id"] for message in peer.seen("workspace/applyEdit")}
    peer.send("workspace/executeCommand", {"command": command, "arguments": list(arguments)}, message_id)
    for _ in range(edits):
        sent = peer.until(lambda m: m.get("method") == "workspace/applyEdit" and m["id"] not in known)
        known.add(sent["id"])
        peer.write_answer(sent["id"], {"applied": True})
    return peer.answer(message_id)["result"]


def span(line: int, start: int, end: int) -> Json:
    """A range within a line."""
    return {"start": {"line": line, "character": start}, "end": {"line": line, "character": end}}


def test_watching_tracing_settings_and_progress() -> None:
    with start(SEAM) as peer:
        hello(peer, canvas=True, no_such_setting=1)
        shown = peer.until(lambda m: m.get("method") == "window/showMessage")
        assert "no_such_setting" in shown["params"]["message"]
        begun = peer.until(lambda m: m.get("method") == "window/workDoneProgress/create")
        assert begun["params"]["token"]
        peer.write_answer(begun["id"], None)
        ended = peer.until(
            lambda m: m.get("method") == "$/progress" and m["params"]["value"]["kind"] == "end"
        )
        assert ended["params"]["token"] == begun["params"]["token"]
        peer.send("$/setTrace", {"value": "verbose"})
        open_document(peer)
        inline(peer, 2)
        [item] = peer.answer(2)["result"]["items"]
        canvas = peer.until(lambda m: m.get("method") == "infill/canvas" and m["params"]["done"])["params"]
        assert canvas["uri"] == URI
        assert len(canvas["confidences"]) == len(canvas["text"])
        assert peer.until(lambda m: m.get("method") == "$/logTrace")["params"]["message"]
        assert any(m["params"]["state"] == "ready" for m in peer.seen("infill/status"))
        # What becomes of it is told in every way there is.
        peer.send("textDocument/didShowCompletion", {"item": item})
        peer.send("textDocument/didPartiallyAcceptCompletion", {"item": item, "acceptedLength": 1})
        run(peer, 3, "infill.rejected", *item["command"]["arguments"])
        status = run(peer, 4, "infill.status")
        assert (status["shown"], status["partiallyAccepted"], status["rejected"]) == (1, 1, 1)
        inline(peer, 5, trigger=2)
        assert peer.answer(5)["result"]["items"] == []  # it was dismissed
        reason = run(peer, 6, "infill.explainNoSuggestion", {"uri": URI})["reason"]
        assert "dismissed" in reason
        assert peer.leave() == 0


def test_holes_selections_and_actions_end_in_edits_of_a_version() -> None:
    with start(SEAM) as peer:
        hello(peer)
        open_document(peer, "x = ___\ny = ___\nz = 3\n")
        where = {"textDocument": {"uri": URI}}
        peer.send("infill/fillHoles", where, 2)
        [change] = peer.answer(2)["result"]["edit"]["documentChanges"]
        assert change["textDocument"] == {"uri": URI, "version": 1}
        assert [edit["range"] for edit in change["edits"]] == [span(0, 4, 7), span(1, 4, 7)]
        marker = {"uri": URI, "position": {"line": 1, "character": 5}}
        assert run(peer, 3, "infill.fillHole", marker, edits=1)["applied"]
        assert run(peer, 4, "infill.rewriteSelection", {"uri": URI, "range": span(2, 4, 5)}, edits=1)[
            "applied"
        ]
        assert run(peer, 5, "infill.fillAllHoles", {"uri": URI}, edits=1)["filled"] == 2
        applied = [m["params"]["edit"]["documentChanges"] for m in peer.seen("workspace/applyEdit")]
        assert [len(change["edits"]) for [change] in applied] == [1, 1, 2]
        assert {change["textDocument"]["version"] for [change] in applied} == {1}
        at = {**where, "range": span(0, 5, 5), "context": {"diagnostics": []}}
        peer.send("textDocument/codeAction", at, 6)
        action, *_ = peer.answer(6)["result"]
        assert (action["kind"], action["tags"], action.get("edit")) == ("refactor.rewrite", [1], None)
        peer.send("codeAction/resolve", action, 7)
        assert peer.answer(7)["result"]["edit"]["documentChanges"]
        assert peer.leave() == 0


def test_switches_ignore_files_secrets_and_trust(tmp_path: Path) -> None:
    (tmp_path / "infill.toml").write_text('[languages]\njavascript = false\n[paths]\n"old/**" = false\n')
    (tmp_path / ".infillignore").write_text("generated/\n")
    (tmp_path / ".gitignore").write_text("build/\n")
    silent = {
        "app.js": "javascript",
        "old/app.py": "python",
        "generated/app.py": "python",
        "build/app.py": "python",
        ".env": "python",
    }

    def reasons(restricted: bool) -> dict[str, str]:
        with start(SEAM) as peer:
            hello(peer, tmp_path, restricted=restricted)
            found = {}
            for number, (name, language) in enumerate({**silent, "app.py": "python"}.items(), 2):
                uri = (tmp_path / name).as_uri()
                document = {"uri": uri, "languageId": language, "version": 1, "text": "x = "}
                peer.send("textDocument/didOpen", {"textDocument": document})
                at = {"textDocument": {"uri": uri}, "position": {"line": 0, "character": 4}}
                peer.send("textDocument/inlineCompletion", {**at, "context": {"triggerKind": 1}}, number)
                if not peer.answer(number)["result"]["items"]:
                    why = run(peer, 100 + number, "infill.explainNoSuggestion", {"uri": uri})
                    found[name] = why["reason"]
            assert peer.leave() == 0
        return found

    trusted, restricted = reasons(False), reasons(True)
    assert set(trusted) == set(silent)
    assert trusted["app.js"] == "suggestions are switched off for javascript"
    assert "old" in trusted["old/app.py"]
    assert ".infillignore" in trusted["generated/app.py"]
    assert ".gitignore" in trusted["build/app.py"]
    # Without trust the project's own file has no say; what is to be left alone still is.
    assert set(restricted) == {"generated/app.py", "build/app.py", ".env"}
