/** Installs the server into an environment of its own, only when somebody says so. */

import { execFile, spawn } from "node:child_process";
import { rm } from "node:fs/promises";
import * as path from "node:path";
import * as readline from "node:readline";
import { promisify } from "node:util";
import * as vscode from "vscode";

const OLDEST: readonly [number, number] = [3, 11];

/** Asks, installs, and says how it went; returns whether there is a server now. */
export async function install(directory: string, log: vscode.LogOutputChannel): Promise<boolean> {
  const settings = vscode.workspace.getConfiguration("infill.install");
  const requirement = settings.get<string>("requirement", "infill-ls");
  const consent = await vscode.window.showInformationMessage(
    `Install ${requirement} into an environment of its own?`,
    {
      modal: true,
      detail:
        `It goes to ${directory} and brings PyTorch, so this may download a gigabyte or more from your ` +
        "Python package index. Nothing else on the machine changes.",
    },
    "Install",
  );
  if (consent !== "Install") return false;
  const python = await findPython(settings.get<string>("python", ""), log);
  if (python === undefined) {
    void vscode.window.showErrorMessage(`Infill needs Python ${OLDEST.join(".")} or newer; none was found.`);
    return false;
  }
  return vscode.window.withProgress(
    { location: vscode.ProgressLocation.Notification, title: "Infill: installing the server", cancellable: true },
    (progress, token) =>
      makeEnvironment({
        python,
        directory,
        pip: [...settings.get<string[]>("arguments", []), requirement],
        token,
        say: (line) => {
          log.info(`install: ${line}`);
          progress.report({ message: line.slice(0, 60) });
        },
      }),
  );
}

interface Making {
  python: string;
  directory: string;
  /** What follows `pip install`. */
  pip: string[];
  token: vscode.CancellationToken;
  say: (line: string) => void;
}

/** A half-made environment would be found and not run, so a failure leaves none. */
async function makeEnvironment({ python, directory, pip, token, say }: Making): Promise<boolean> {
  const inside = path.join(directory, process.platform === "win32" ? "Scripts\\python.exe" : "bin/python");
  try {
    await run(python, ["-m", "venv", "--clear", directory], token, say);
    await run(inside, ["-m", "pip", "install", "--disable-pip-version-check", ...pip], token, say);
    return true;
  } catch (error) {
    await rm(directory, { recursive: true, force: true });
    const problem = (error as Error).message;
    say(problem);
    if (!token.isCancellationRequested) {
      void vscode.window.showErrorMessage(`Infill's server could not be installed: ${problem}`);
    }
    return false;
  }
}

async function findPython(set: string, log: vscode.LogOutputChannel): Promise<string | undefined> {
  const code = `import sys; sys.exit(sys.version_info[:2] < (${OLDEST.join(", ")}))`;
  for (const python of set !== "" ? [set] : ["python3", "python", "python3.13", "python3.12", "python3.11"]) {
    try {
      await promisify(execFile)(python, ["-c", code]);
      return python;
    } catch {
      log.info(`install: ${python} is missing or too old`);
    }
  }
  return undefined;
}

function run(
  command: string,
  args: string[],
  token: vscode.CancellationToken,
  say: (line: string) => void,
): Promise<void> {
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, { stdio: ["ignore", "pipe", "pipe"] });
    const cancelling = token.onCancellationRequested(() => child.kill());
    for (const stream of [child.stdout, child.stderr]) readline.createInterface(stream).on("line", say);
    child.on("error", reject);
    child.on("close", (code) => {
      cancelling.dispose();
      if (code === 0) resolve();
      else reject(new Error(`${path.basename(command)} ${args.slice(0, 3).join(" ")} ended with ${code}`));
    });
  });
}
