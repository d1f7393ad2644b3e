// What the extension's modules decide by themselves, with a stand-in for the editor.

import assert from "node:assert/strict";
import { chmod, mkdtemp, rm, writeFile } from "node:fs/promises";
import os from "node:os";
import path from "node:path";
import { test } from "node:test";
import { load } from "./sources.mjs";

/** A configuration as VS Code has it: defaults of the manifest, and what is set for the user and the workspace. */
function configuration({ defaults = {}, user = {}, workspace = {} }) {
  return {
    get: (name, fallback) => workspace[name] ?? user[name] ?? defaults[name] ?? fallback,
    inspect: (name) => ({ defaultValue: defaults[name], globalValue: user[name], workspaceValue: workspace[name] }),
  };
}

test("only settings that somebody has set are sent as set", async () => {
  const found = configuration({
    defaults: { seed: 0, deadline_ms: 1500, automatic: true, model: "", max_steps: null, disabled_languages: [] },
    user: { deadline_ms: 1500, model: "" },
    workspace: { disabled_languages: ["go"] },
  });
  const vscode = { workspace: { isTrusted: true, getConfiguration: () => found } };
  const { serverSettings } = await load("settings", { vscode });
  const { deadline_ms, disabled_languages, ...others } = serverSettings();
  assert.deepEqual({ deadline_ms, disabled_languages }, { deadline_ms: 1500, disabled_languages: ["go"] });
  assert.ok(Object.keys(others).includes("seed"), "a setting that was taken back is told");
  assert.deepEqual([...new Set(Object.values(others))], [null]);
  vscode.workspace.isTrusted = false;
  assert.equal(serverSettings().restricted, true);
});

/** Runs *Preview All Holes Filled* on a document that is at `version` by the time its edit for version 1 is there. */
async function preview(version) {
  const said = [];
  const drawn = [];
  const registered = {};
  const document = { uri: "file:///a.py", version: 1 };
  const editor = { document, setDecorations: (_, what) => drawn.push(...what), revealRange: () => {} };
  const ignored = () => ({ dispose: () => {} });
  const vscode = {
    ...{ ThemeColor: class {}, ProgressLocation: {}, TextEditorRevealType: {} },
    MarkdownString: class {
      appendCodeblock = () => this;
    },
    commands: { registerCommand: (id, body) => (registered[id] = body), executeCommand: async () => {} },
    languages: { match: () => 1 },
    window: {
      activeTextEditor: editor,
      createTextEditorDecorationType: ignored,
      onDidChangeVisibleTextEditors: ignored,
      onDidChangeActiveTextEditor: ignored,
      setStatusBarMessage: ignored,
      showInformationMessage: async (message) => void said.push(message),
      showErrorMessage: async (message) => void said.push(message),
      withProgress: (_, body) => body(),
    },
    workspace: { onDidChangeTextDocument: ignored },
  };
  const languageClient = { NotificationType: class {}, RequestType: class {}, ExecuteCommandRequest: {} };
  const outside = { vscode, "vscode-languageclient/node": languageClient };
  const { Preview } = await load("preview", outside);
  const { registerCommands } = await load("commands", outside);
  const edits = [{ range: { isEmpty: false }, newText: "1" }];
  const textDocument = { uri: document.uri, version: 1 };
  const client = {
    isRunning: () => true,
    code2ProtocolConverter: { asUri: String },
    sendRequest: async () => ({ edit: { documentChanges: [{ textDocument, edits }] } }),
    protocol2CodeConverter: {
      asWorkspaceEdit: async () => {
        document.version = version; // what is typed meanwhile moves everything below it
        return { get: () => edits };
      },
    },
  };
  registerCommands({ client, preview: new Preview(), log: { error: (error) => said.push(error.message) } });
  await registered["infill.previewAllHoles"]();
  return { said, drawn };
}

test("holes are previewed only in the text they were filled for", async () => {
  const same = await preview(1);
  assert.deepEqual([same.said, same.drawn.length > 0], [[], true]);
  const moved = await preview(2);
  assert.deepEqual(moved.said, ["Infill: the text changed meanwhile; nothing is previewed."]);
  assert.deepEqual(moved.drawn, []);
});

test("a Python extension that does not start is no reason not to look on the PATH", async () => {
  const folder = await mkdtemp(path.join(os.tmpdir(), "infill-path-"));
  const program = path.join(folder, process.platform === "win32" ? "infill.exe" : "infill");
  await writeFile(program, "#!/bin/sh\necho infill 0.1.0\n");
  await chmod(program, 0o755);
  const broken = { activate: () => Promise.reject(new Error("it is broken")) };
  const vscode = {
    extensions: { getExtension: () => broken },
    workspace: { isTrusted: true, workspaceFolders: [], getConfiguration: () => configuration({}) },
  };
  const before = process.env.PATH;
  const said = [];
  try {
    process.env.PATH = [folder, before].join(path.delimiter);
    const { findServer } = await load("find", { vscode });
    const log = { info: () => {}, warn: (line) => said.push(line) };
    const server = await findServer(path.join(folder, "isolated"), log);
    assert.deepEqual(server, { command: program, version: "infill 0.1.0", foundBy: "the PATH" });
  } finally {
    process.env.PATH = before;
    await rm(folder, { recursive: true, force: true });
  }
  assert.match(said.join(), /it is broken/);
});
