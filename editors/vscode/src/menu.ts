/** The menu behind the status bar entry. */

import * as vscode from "vscode";
import { isServed } from "./documents";
import type { Infill } from "./infill";
import { disabledLanguages, write } from "./settings";

interface Choice extends vscode.QuickPickItem {
  run?: () => unknown;
}

const SNOOZES: readonly [string, number][] = [
  ["5 minutes", 5],
  ["30 minutes", 30],
  ["2 hours", 120],
];

export async function showMenu(infill: Infill): Promise<void> {
  const { message, reason } = infill.status.shown;
  const choice = await vscode.window.showQuickPick(choices(infill), {
    title: `Infill: ${message}`,
    placeHolder: reason ? `No suggestion last time: ${reason}` : "What shall Infill do?",
  });
  await choice?.run?.();
}

function choices(infill: Infill): Choice[] {
  const command = (label: string, id: string): Choice => ({
    label,
    run: () => vscode.commands.executeCommand(id),
  });
  const group = (label: string): Choice => ({ label, kind: vscode.QuickPickItemKind.Separator });
  const server = [...(vscode.workspace.isTrusted ? [] : [trustChoice()]), ...serverChoices(infill, command)];
  if (infill.client === undefined) return server;
  const selecting = vscode.window.activeTextEditor?.selection.isEmpty === false;
  const canvas = vscode.workspace.getConfiguration("infill").get<boolean>("canvas", false);
  return [
    group("Suggestions"),
    command("$(question) Why is there no suggestion?", "infill.explain"),
    ...languageChoice(),
    infill.snooze.active
      ? { label: "$(bell) End the snooze", run: () => infill.snooze.stop() }
      : command("$(bell-slash) Snooze…", "infill.snooze"),
    {
      label: canvas ? "$(eye-closed) Hide the canvas" : "$(eye) Show the canvas",
      description: "every step of denoising, drawn at the cursor",
      run: () => write("canvas", !canvas),
    },
    group("This file"),
    selecting
      ? command("$(wand) Rewrite the selection", "infill.rewriteSelected")
      : command("$(edit) Fill the hole here", "infill.fillHoleAtCursor"),
    command("$(sparkle) Preview all holes filled", "infill.previewAllHoles"),
    command("$(check-all) Fill all holes", "infill.fillAllHolesInFile"),
    group("The server"),
    ...server,
  ];
}

/** Where there is no server, what leads to one; nothing else would be of use then. */
function serverChoices(infill: Infill, command: (label: string, id: string) => Choice): Choice[] {
  const [first, again] =
    infill.client === undefined
      ? [
          [
            command("$(cloud-download) Install the server…", "infill.install"),
            { label: "$(file-directory) Set the path…", run: () => infill.setPath() },
          ],
          "$(debug-restart) Look for it again",
        ]
      : [[command("$(chip) Model…", "infill.chooseModel")], "$(debug-restart) Restart"];
  return [
    ...first,
    command("$(output) Log", "infill.showLog"),
    command(again, "infill.restart"),
    {
      label: "$(gear) Settings",
      run: () => vscode.commands.executeCommand("workbench.action.openSettings", "@ext:infill.infill"),
    },
  ];
}

function trustChoice(): Choice {
  return {
    label: "$(shield) Trust this folder…",
    description: "until then its own server, settings and infill.toml are left alone",
    run: () => vscode.commands.executeCommand("workbench.trust.manage"),
  };
}

function languageChoice(): Choice[] {
  const document = vscode.window.activeTextEditor?.document;
  if (document === undefined || !isServed(document)) return [];
  const language = document.languageId;
  const off = disabledLanguages().includes(language);
  return [
    {
      label: off ? `$(circle-large-filled) Suggest in ${language}` : `$(circle-slash) Do not suggest in ${language}`,
      run: () => vscode.commands.executeCommand("infill.toggleLanguage"),
    },
  ];
}

export async function chooseSnooze(infill: Infill): Promise<void> {
  const choices = SNOOZES.map(([label, minutes]) => ({ label, minutes }));
  const choice = await vscode.window.showQuickPick(choices, {
    title: "Infill: snooze",
    placeHolder: "No suggestions for how long?",
  });
  if (choice !== undefined) infill.snooze.start(choice.minutes);
}
