// What the extension's modules decide by themselves, with a stand-in for the editor.

import assert from "node:assert/strict";
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
