/**
 * Finds the program that is the server. The order is documented in the README, and every step is logged:
 *
 * 1. the setting `infill.path`: where it is set, nothing else is tried
 * 2. the workspace's Python environment, in a trusted workspace only
 * 3. the PATH
 * 4. the isolated environment that `Infill: Install the Server` makes
 */

import { execFile } from "node:child_process";
import { access, constants } from "node:fs/promises";
import * as os from "node:os";
import * as path from "node:path";
import { promisify } from "node:util";
import * as vscode from "vscode";

const VERSION_TIMEOUT_MS = 60_000; // a cold start on a busy machine's network drive is slow
const PROGRAM = process.platform === "win32" ? "infill.exe" : "infill";
const SCRIPTS = process.platform === "win32" ? "Scripts" : "bin";

export interface Server {
  command: string;
  /** What `infill --version` printed. */
  version: string;
  /** Which of the four steps found it, in words. */
  foundBy: string;
}

export interface NotFound {
  problem: string;
  /** Whether installing a server would help; it would not where `infill.path` is wrong. */
  installable: boolean;
}

/** Where the program lies in a virtual environment. */
export function programIn(environment: string): string {
  return path.join(environment, SCRIPTS, PROGRAM);
}

/** Looks for a server that runs; `isolated` is the directory of the environment this extension makes. */
export async function findServer(isolated: string, log: vscode.LogOutputChannel): Promise<Server | NotFound> {
  const set = vscode.workspace.getConfiguration("infill").get<string>("path", "").trim();
  if (set !== "") {
    const server = await tryCandidate(expand(set), "the setting infill.path", log);
    return server ?? { problem: `infill.path names ${set}, which does not run`, installable: false };
  }
  const steps: [string, () => Promise<string[]>][] = [
    ["the Python environment", async () => (vscode.workspace.isTrusted ? pythonEnvironments(log) : [])],
    ["the PATH", async () => onPath()],
    ["the isolated environment", async () => [programIn(isolated)]],
  ];
  for (const [foundBy, candidates] of steps) {
    for (const candidate of await candidates()) {
      const server = await tryCandidate(candidate, foundBy, log);
      if (server !== undefined) return server;
    }
  }
  return { problem: "there is no server on this machine", installable: true };
}

async function tryCandidate(
  command: string,
  foundBy: string,
  log: vscode.LogOutputChannel,
): Promise<Server | undefined> {
  try {
    await access(command, constants.X_OK);
  } catch {
    log.info(`server: ${foundBy}: nothing at ${command}`);
    return undefined;
  }
  try {
    const { stdout } = await promisify(execFile)(command, ["--version"], { timeout: VERSION_TIMEOUT_MS });
    const version = stdout.trim();
    // Other programs are called infill too: 3D printing has them.
    if (!/^infill \d/.test(version)) throw new Error(`--version says ${JSON.stringify(version)}`);
    log.info(`server: ${foundBy}: ${command} (${version})`);
    return { command, version, foundBy };
  } catch (error) {
    log.warn(`server: ${foundBy}: ${command} does not run: ${(error as Error).message}`);
    return undefined;
  }
}

/** Programs of the environments that the Python extension, or failing that the folders, speak of. */
async function pythonEnvironments(log: vscode.LogOutputChannel): Promise<string[]> {
  const folder = vscode.workspace.workspaceFolders?.[0];
  const interpreters: string[] = [];
  const active = await activeInterpreter(folder?.uri).catch((error: unknown) => {
    log.warn(`server: the Python extension does not say which environment is active: ${String(error)}`);
    return undefined;
  });
  if (active !== undefined) interpreters.push(active);
  const set = vscode.workspace.getConfiguration("python", folder).get<string>("defaultInterpreterPath", "");
  if (path.isAbsolute(expand(set))) interpreters.push(expand(set));
  const programs = interpreters.map((python) => path.join(path.dirname(python), PROGRAM));
  for (const { uri } of vscode.workspace.workspaceFolders ?? []) {
    if (uri.scheme === "file") programs.push(programIn(path.join(uri.fsPath, ".venv")));
  }
  return [...new Set(programs)];
}

/** The part of the Python extension's interface that is used here. */
interface PythonApi {
  environments?: {
    getActiveEnvironmentPath(resource?: vscode.Uri): { path: string };
    resolveEnvironment(of: { path: string }): Promise<{ executable: { uri?: vscode.Uri } } | undefined>;
  };
}

async function activeInterpreter(resource: vscode.Uri | undefined): Promise<string | undefined> {
  const extension = vscode.extensions.getExtension<PythonApi>("ms-python.python");
  if (extension === undefined) return undefined;
  const environments = (await extension.activate()).environments;
  if (environments === undefined) return undefined;
  const resolved = await environments.resolveEnvironment(environments.getActiveEnvironmentPath(resource));
  return resolved?.executable.uri?.fsPath;
}

function onPath(): string[] {
  const directories = (process.env["PATH"] ?? "").split(path.delimiter);
  return directories.filter((each) => path.isAbsolute(each)).map((each) => path.join(each, PROGRAM));
}

/** `~` and `${workspaceFolder}`, which people write into settings. */
function expand(value: string): string {
  const folder = vscode.workspace.workspaceFolders?.[0]?.uri.fsPath ?? "";
  return value.replace(/^~(?=$|[/\\])/, os.homedir()).replaceAll("${workspaceFolder}", folder);
}
