/**
 * The commands of the palette and of the menus. They are not the server's (`infill.fillHole` and others),
 * which vscode-languageclient registers with arguments and only while the server runs; these take them from
 * the active editor, and say what is missing.
 */

import * as vscode from "vscode";
import { ExecuteCommandRequest, type LanguageClient } from "vscode-languageclient/node";
import { isServed, whyNotServed } from "./documents";
import { openExample } from "./example";
import type { Infill } from "./infill";
import { chooseSnooze, showMenu } from "./menu";
import { chooseModel } from "./model";
import { type Explanation, fillHoles, type Refusal, serverCommand, type WorkspaceEdit } from "./protocol";
import { disabledLanguages, switchLanguage } from "./settings";

export function registerCommands(infill: Infill): vscode.Disposable[] {
  const commands: Record<string, (argument?: unknown) => unknown> = {
    "infill.menu": () => showMenu(infill),
    "infill.restart": () => infill.restart(),
    "infill.showLog": () => infill.log.show(),
    "infill.install": () => infill.install(),
    "infill.explain": () => explain(infill),
    "infill.snooze": () => chooseSnooze(infill),
    "infill.toggleLanguage": () => toggleLanguage(),
    "infill.chooseModel": () => chooseModel(),
    "infill.fillHoleAtCursor": () =>
      withEditor(infill, (client, { document, selection }) =>
        run(infill, client, serverCommand.fillHole, {
          ...uriOf(client, document),
          position: client.code2ProtocolConverter.asPosition(selection.active),
        }),
      ),
    "infill.rewriteSelected": () =>
      withEditor(infill, async (client, { document, selection }) => {
        if (selection.isEmpty) return void tell(infill, "select the code that is to be written anew.");
        await run(infill, client, serverCommand.rewriteSelection, {
          ...uriOf(client, document),
          range: client.code2ProtocolConverter.asRange(selection),
        });
      }),
    "infill.fillAllHolesInFile": () =>
      withEditor(infill, (client, { document }) =>
        run(infill, client, serverCommand.fillAllHoles, uriOf(client, document)),
      ),
    "infill.previewAllHoles": () => withEditor(infill, (client, editor) => preview(infill, client, editor)),
    "infill.preview.accept": () => infill.preview.accept(),
    "infill.preview.discard": () => infill.preview.discard(),
    "infill.example": openExample,
  };
  return Object.entries(commands).map(([id, body]) =>
    vscode.commands.registerCommand(id, (argument?: unknown) => reported(infill, () => body(argument))),
  );
}

/** A failed request becomes a message that leads to the log; by itself VS Code would open a dialog. */
async function reported(infill: Infill, body: () => unknown): Promise<void> {
  try {
    await body();
  } catch (error) {
    infill.log.error(error as Error);
    void tell(infill, (error as Error).message, vscode.window.showErrorMessage);
  }
}

/** With a button VS Code shows the whole of a message, without one only its first line. */
async function tell(
  infill: Infill,
  message: string,
  show: typeof vscode.window.showErrorMessage = vscode.window.showInformationMessage,
): Promise<void> {
  if ((await show(`Infill: ${message}`, "Show the Log")) !== undefined) infill.log.show();
}

/** Says what the server says of the last silence, or what we know where there is no server to ask. */
async function explain(infill: Infill): Promise<void> {
  const editor = vscode.window.activeTextEditor;
  const { client } = infill;
  if (editor !== undefined && !isServed(editor.document)) return void tell(infill, whyNotServed(editor.document));
  if (editor === undefined || !client?.isRunning() || infill.snooze.active) {
    return tell(infill, infill.status.shown.message);
  }
  const argument = uriOf(client, editor.document);
  const { reason, text } = await execute<Explanation>(client, serverCommand.explain, argument);
  const [line] = text.trim().split("\n", 1);
  void tell(infill, line ? `${reason}. It was: ${line.slice(0, 80)}` : `${reason}.`);
}

async function toggleLanguage(): Promise<void> {
  const language = vscode.window.activeTextEditor?.document.languageId;
  if (language !== undefined) await switchLanguage(language, disabledLanguages().includes(language));
}

/** Runs a command that edits through `workspace/applyEdit`; it answers with a refusal, or with nothing. */
async function run(infill: Infill, client: LanguageClient, command: string, argument: object): Promise<void> {
  const answer = await execute<Refusal | null>(client, command, argument);
  if (answer?.reason) void tell(infill, answer.filled ? `${answer.reason}.` : `nothing is changed: ${answer.reason}.`);
}

async function preview(infill: Infill, client: LanguageClient, editor: vscode.TextEditor): Promise<void> {
  const asked = editor.document.version;
  const answer: (Refusal & { edit?: WorkspaceEdit | null }) | null = await client.sendRequest(
    fillHoles,
    { textDocument: uriOf(client, editor.document) },
  );
  const edit = await client.protocol2CodeConverter.asWorkspaceEdit(answer?.edit);
  if (edit === undefined || edit.get(editor.document.uri).length === 0) {
    void tell(infill, `${answer?.reason ?? "there is no hole in this file"}.`);
  } else if (!infill.preview.show(editor, edit, versionOf(answer?.edit) ?? asked)) {
    void tell(infill, "the text changed meanwhile; nothing is previewed.");
  } else if (answer?.reason) {
    void tell(infill, `${answer.reason}.`);
  }
}

/** The version of the text that an edit was made for; undefined where it does not say. */
function versionOf(edit: WorkspaceEdit | null | undefined): number | undefined {
  const [change] = edit?.documentChanges ?? [];
  return change !== undefined && "textDocument" in change ? (change.textDocument.version ?? undefined) : undefined;
}

async function withEditor(
  infill: Infill,
  body: (client: LanguageClient, editor: vscode.TextEditor) => Promise<void>,
): Promise<void> {
  const editor = vscode.window.activeTextEditor;
  const { client } = infill;
  if (editor === undefined) return void tell(infill, "no editor is open.");
  if (!isServed(editor.document)) return void tell(infill, whyNotServed(editor.document));
  if (!client?.isRunning()) {
    return void vscode.window.showWarningMessage(`Infill: ${infill.status.shown.message}.`);
  }
  await vscode.window.withProgress({ location: vscode.ProgressLocation.Window, title: "Infill" }, () =>
    body(client, editor),
  );
}

function execute<T>(client: LanguageClient, command: string, argument: object): Promise<T> {
  return client.sendRequest(ExecuteCommandRequest.type, { command, arguments: [argument] });
}

function uriOf(client: LanguageClient, document: vscode.TextDocument): { uri: string } {
  return { uri: client.code2ProtocolConverter.asUri(document.uri) };
}
