// Starts a real VS Code (code-server) with the packaged extension installed, on a port of its own.
//
// Everything it writes is in one temporary folder, which `stop` removes with the processes.

import { execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { createWriteStream } from "node:fs";
import { glob, mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { createServer } from "node:net";
import os from "node:os";
import path from "node:path";
import { promisify } from "node:util";
import { codeServer, infill, node, repository, vsix } from "./paths.mjs";
import { engineProcesses, kill as killAll } from "./processes.mjs";
import { until } from "./until.mjs";

/** What keeps a workbench quiet enough to be looked at by a program. */
const CALM = {
  "chat.disableAIFeatures": true,
  "editor.inlineSuggest.enabled": true,
  "editor.quickSuggestions": { other: "off", comments: "off", strings: "off" },
  "editor.suggestOnTriggerCharacters": false,
  "editor.parameterHints.enabled": false,
  "editor.hover.delay": 600000,
  "editor.cursorBlinking": "solid",
  "editor.minimap.enabled": false,
  "editor.fontFamily": "DejaVu Sans Mono",
  "files.hotExit": "off",
  "git.enabled": false,
  "security.workspace.trust.startupPrompt": "never",
  "telemetry.telemetryLevel": "off",
  "update.mode": "none",
  "workbench.secondarySideBar.defaultVisibility": "hidden",
  "workbench.startupEditor": "none",
  "workbench.tips.enabled": false,
};

/**
 * `files` maps names to texts of the workspace; `settings` are the user's, on top of the calm ones;
 * `trusted: false` opens the workspace in restricted mode; `path` is a folder that the user has on the PATH;
 * `variables` are in the environment besides.
 */
export async function startCodeServer({ files = {}, settings = {}, trusted = true, path: onPath, variables } = {}) {
  const home = await mkdtemp(path.join(os.tmpdir(), "infill-vscode-"));
  const [workspace, data, extensions] = ["workspace", "data", "extensions"].map((name) => path.join(home, name));
  const write = (name, text) => writeFiles(workspace, { [name]: text });
  await writeFiles(workspace, files);
  const user = { ...CALM, "infill.path": infill, ...settings };
  await writeFiles(path.join(data, "User"), { "settings.json": JSON.stringify(user) });
  const own = ["--user-data-dir", data, "--extensions-dir", extensions];
  // One thread: beside a browser and an editor on two cores, more would wait for each other.
  const threads = { OMP_NUM_THREADS: "1", OMP_WAIT_POLICY: "PASSIVE" };
  // An engine of its own, which is nobody else's to end.
  const apart = { HOME: home, INFILL_RUNTIME_DIR: path.join(home, "run"), INFILL_CONFIG_DIR: path.join(home, "config") };
  const environment = { ...process.env, ...threads, PYTHONPATH: repository, ...apart, SHELL: "/bin/bash", ...variables };
  // Extensions get the PATH of a login shell, whatever ours is.
  if (onPath) await writeFiles(home, { ".profile": `PATH="${onPath}:$PATH"\n` });
  await promisify(execFile)(node, [codeServer, ...own, "--install-extension", vsix], { env: environment });

  const port = await freePort();
  const args = [codeServer, ...own, "--bind-addr", `127.0.0.1:${port}`, "--auth", "none"];
  args.push("--disable-telemetry", "--disable-update-check", "--disable-proxy");
  args.push("--disable-getting-started-override", ...(trusted ? ["--disable-workspace-trust"] : []), workspace);
  const child = spawn(node, args, { env: environment, detached: true, stdio: ["ignore", "pipe", "pipe"] });
  const log = createWriteStream(path.join(home, "code-server.log"));
  for (const stream of [child.stdout, child.stderr]) stream.pipe(log, { end: false });
  // The group, so that extension hosts and language servers go with it; also when the tests are interrupted.
  const kill = (signal) => {
    try {
      process.kill(-child.pid, signal);
    } catch {
      // Nothing was left of it.
    }
  };
  process.once("exit", () => kill("SIGKILL"));
  for (const signal of ["SIGINT", "SIGTERM"]) process.once(signal, () => process.exit(1));
  const origin = `http://127.0.0.1:${port}`;
  await until("code-server answers", async () => (await fetch(`${origin}/healthz`).catch(() => undefined))?.ok);

  return {
    home,
    workspace,
    data,
    write,
    /** The user's settings as they are now. */
    async settings() {
      const text = await readFile(path.join(data, "User/settings.json"), "utf8");
      return text === "" ? {} : JSON.parse(text); // it is emptied before it is written
    },
    /** What the extension has logged since the start. */
    async log() {
      const found = await Array.fromAsync(glob(path.join(data, "logs/*/exthost*/infill.infill/*.log")));
      return (await Promise.all(found.map((file) => readFile(file, "utf8")))).join("");
    },
    /** The address that opens the workspace with a file of it. */
    address(file) {
      const payload = file ? [["openFile", `vscode-remote://127.0.0.1:${port}${path.join(workspace, file)}`]] : [];
      return `${origin}/?folder=${encodeURIComponent(workspace)}&payload=${encodeURIComponent(JSON.stringify(payload))}`;
    },
    async stop() {
      const ended = once(child, "exit");
      kill("SIGTERM");
      await ended;
      kill("SIGKILL");
      await killAll(engineProcesses({ home }));
      log.end();
      await rm(home, { recursive: true, force: true, maxRetries: 5 });
    },
  };
}

async function writeFiles(folder, files) {
  for (const [name, text] of Object.entries(files)) {
    const file = path.join(folder, name);
    await mkdir(path.dirname(file), { recursive: true });
    await writeFile(file, text);
  }
  await mkdir(folder, { recursive: true });
}

async function freePort() {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address();
  await new Promise((resolve) => server.close(resolve));
  return port;
}
