/** A small file to try it on, for the walkthrough: most people have no hole at hand. */

import * as vscode from "vscode";

const SUGGESTION = `class Box:
    def __init__(self, width, height):
        self.width = width
        self.height = height

    def area(self):
        """Width times height."""
        return ${""}
`;

const HOLES = `class Account:
    def __init__(self, owner, balance):
        self.owner = ___
        self.balance = balance

    def deposit(self, amount):
        self.balance += amount

    def withdraw(self, amount):
        self.balance -= ___
`;

/** Opens it beside what is there, with the cursor where something is missing; `what` is "holes" or anything. */
export async function openExample(what: unknown): Promise<void> {
  const content = what === "holes" ? HOLES : SUGGESTION;
  const document = await vscode.workspace.openTextDocument({ language: "python", content });
  const editor = await vscode.window.showTextDocument(document, vscode.ViewColumn.Beside);
  if (what === "holes") return void (await vscode.commands.executeCommand("infill.previewAllHoles"));
  const { end } = document.lineAt(document.lineCount - 2).range;
  editor.selection = new vscode.Selection(end, end);
  await vscode.commands.executeCommand("editor.action.inlineSuggest.trigger");
}
