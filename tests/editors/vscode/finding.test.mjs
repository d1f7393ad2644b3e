// Which program the extension runs: in a workspace nobody trusts, once it is trusted, and where there is none.

import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { chmod, mkdtemp, readdir, rm, stat, writeFile } from "node:fs/promises";
import os from "node:os";
import path from "node:path";
import { after, before, test } from "node:test";
import { promisify } from "node:util";
import { startCodeServer } from "./code_server.mjs";
import { documents } from "./documents.mjs";
import { witnessed } from "./evidence.mjs";
import { infill, python } from "./paths.mjs";
import { until } from "./until.mjs";
import { launch, Workbench } from "./workbench.mjs";

const TOTAL = { "total.py": documents["total.py"] };
let browser, scratch;

before(async () => {
  browser = await launch();
  scratch = await mkdtemp(path.join(os.tmpdir(), "infill-finding-"));
});

after(async () => {
  await browser?.close();
  await rm(scratch, { recursive: true, force: true });
});

/** A program that leaves a mark when it runs, and then is the real one. */
function marking(mark) {
  return `#!/bin/sh\ntouch "${mark}"\nexec "${infill}" "$@"\n`;
}

async function exists(file) {
  return stat(file).then(() => true, () => false);
}

test("in restricted mode nothing of the workspace runs; trusted, its own server does", async () => {
  const [bySetting, byEnvironment] = ["setting", "environment"].map((name) => path.join(scratch, name));
  const server = await startCodeServer({
    trusted: false,
    settings: { "infill.path": "" },
    path: path.dirname(infill),
    files: {
      ...TOTAL,
      "tool/infill": marking(bySetting),
      ".venv/bin/infill": marking(byEnvironment),
      ".vscode/settings.json": JSON.stringify({ "infill.path": "${workspaceFolder}/tool/infill" }),
    },
  });
  try {
    for (const name of ["tool/infill", ".venv/bin/infill"]) await chmod(path.join(server.workspace, name), 0o755);
    const workbench = await Workbench.open(browser, server, "total.py");
    await witnessed("restricted", workbench, server, async () => {
      await workbench.state("ready");
      assert.match(await server.log(), new RegExp(`the PATH: ${infill} \\(infill \\d`));
      assert.deepEqual([await exists(bySetting), await exists(byEnvironment)], [false, false]);
      await workbench.goTo(...workbench.endOf(documents["total.py"], "result += "));
      await workbench.type("v");
      assert.notEqual(await workbench.ghost(), "");
      assert.ok((await workbench.menu()).some((label) => label.startsWith("Trust this folder…")));

      await workbench.run("Workspaces: Manage Workspace Trust");
      await workbench.page.locator(".workspace-trust-editor .monaco-button", { hasText: "Trust" }).first().click();
      await until("the workspace's own server runs", () => exists(bySetting));
      await until("the log says which", async () => (await server.log()).includes("the setting infill.path: "));
    });
    await workbench.close();
  } finally {
    await server.stop();
  }
});

test("where there is no server, one is installed after a yes, and found again", async () => {
  const server = await startCodeServer({
    files: TOTAL,
    settings: {
      "infill.path": "",
      "infill.install.requirement": await wheel(),
      "infill.install.arguments": ["--no-index", "--no-deps"],
      "infill.install.python": python,
    },
  });
  try {
    const workbench = await Workbench.open(browser, server, "total.py");
    await witnessed("installed", workbench, server, async () => {
      await workbench.state("off");
      assert.deepEqual(await workbench.menu(), [
        "Install the server…",
        "Set the path…",
        "Log",
        "Look for it again",
        "Settings",
      ]);
      await workbench.page.mouse.move(500, 300); // what hovers over the status bar may cover the button
      await workbench.page.locator(".notification-list-item .monaco-button", { hasText: "Install" }).first().click();
      const dialog = workbench.page.locator(".monaco-dialog-box");
      await dialog.waitFor();
      const isolated = path.join(server.data, "User/globalStorage/infill.infill/server");
      assert.equal(await exists(isolated), false, "nothing is installed before somebody agrees");
      await dialog.locator(".monaco-button", { hasText: "Install" }).click();
      await workbench.state("ready");
      assert.deepEqual((await readdir(path.join(isolated, "bin"))).filter((name) => name === "infill"), ["infill"]);
      assert.match(await server.log(), /server: the isolated environment: .*server\/bin\/infill \(infill \d/);
    });
    await workbench.close();
  } finally {
    await server.stop();
  }
});

/** A wheel that holds nothing but a command `infill` that is the real one, so that nothing is downloaded. */
async function wheel() {
  const file = path.join(scratch, "infill_ls-0.0.1-py3-none-any.whl");
  const code = path.join(scratch, "wheel.py");
  await writeFile(
    code,
    `import sys, zipfile
entries = {
    "shim.py": "import os, sys\\ndef main():\\n    os.execv('${infill}', sys.argv)\\n",
    "infill_ls-0.0.1.dist-info/METADATA": "Metadata-Version: 2.1\\nName: infill-ls\\nVersion: 0.0.1\\n",
    "infill_ls-0.0.1.dist-info/WHEEL": "Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n",
    "infill_ls-0.0.1.dist-info/entry_points.txt": "[console_scripts]\\ninfill = shim:main\\n",
    "infill_ls-0.0.1.dist-info/RECORD": "",
}
with zipfile.ZipFile(sys.argv[1], "w") as archive:
    for name, text in entries.items():
        archive.writestr(name, text)
`,
  );
  await promisify(execFile)(python, [code, file]);
  return file;
}
