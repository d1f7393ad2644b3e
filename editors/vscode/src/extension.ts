/** What VS Code calls: starts everything, and starts the server anew where that is needed. */

import * as vscode from "vscode";
import { registerCommands } from "./commands";
import { Infill } from "./infill";

/** Settings that only a new server takes up. */
const NEEDS_RESTART = ["infill.path", "infill.log_level"];

let infill: Infill | undefined;

export async function activate(context: vscode.ExtensionContext): Promise<void> {
  infill = new Infill(vscode.Uri.joinPath(context.globalStorageUri, "server").fsPath);
  const running = infill;
  context.subscriptions.push(
    running,
    ...registerCommands(running),
    vscode.workspace.onDidGrantWorkspaceTrust(() => running.restart()),
    vscode.workspace.onDidChangeConfiguration((event) => {
      if (NEEDS_RESTART.some((name) => event.affectsConfiguration(name))) void running.restart();
    }),
  );
  // Not awaited: an editor that opens is not to wait for Python.
  void running.restart();
}

export async function deactivate(): Promise<void> {
  await infill?.stop();
}
