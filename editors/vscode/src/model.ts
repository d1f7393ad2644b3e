/** Chooses the model: the embedded one, a folder, or a name on the hub. */

import * as vscode from "vscode";
import { write } from "./settings";

export async function chooseModel(): Promise<void> {
  const now = vscode.workspace.getConfiguration("infill").get<string | null>("model", null);
  const embedded = { label: "$(package) The embedded model", description: "small, comes with the server" };
  const folder = { label: "$(folder) A folder…", description: "a checkpoint on this machine" };
  const hub = { label: "$(cloud-download) A name on the hub…", description: "is downloaded once" };
  const choice = await vscode.window.showQuickPick([embedded, folder, hub], {
    title: "Infill: the model",
    placeHolder: `Now: ${now || "the embedded model"}`,
  });
  if (choice === embedded) await write("model", undefined);
  if (choice === folder) {
    const [chosen] =
      (await vscode.window.showOpenDialog({ canSelectFolders: true, canSelectFiles: false })) ?? [];
    if (chosen !== undefined) await write("model", chosen.fsPath);
  }
  if (choice === hub) {
    const name = await vscode.window.showInputBox({
      title: "Infill: the model's name on the hub",
      placeHolder: "owner/name",
      validateInput: (value) => (/^[\w.-]+\/[\w.-]+$/.test(value.trim()) ? undefined : "owner/name"),
    });
    if (name !== undefined) await write("model", name.trim());
  }
}
