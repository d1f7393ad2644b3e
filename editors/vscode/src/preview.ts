/**
 * Shows what would fill the holes of a file before it does: each edit beside its hole, all of them taken or
 * dropped together. Two keys are bound, and only while a preview shows (`infill.previewing`).
 */

import * as vscode from "vscode";

const CONTEXT = "infill.previewing";

interface Showing {
  editor: vscode.TextEditor;
  version: number;
  edit: vscode.WorkspaceEdit;
}

export class Preview implements vscode.Disposable {
  private readonly old = vscode.window.createTextEditorDecorationType({
    textDecoration: "line-through",
    opacity: "0.5",
  });
  private readonly filled = vscode.window.createTextEditorDecorationType({
    after: { color: new vscode.ThemeColor("infill.preview.foreground"), margin: "0 0 0 0.5ch" },
  });
  private readonly subscriptions: vscode.Disposable[];
  private showing: Showing | undefined;
  /** How to go on, in the status bar for as long as there is something to accept. */
  private message: vscode.Disposable | undefined;

  constructor() {
    this.subscriptions = [
      vscode.workspace.onDidChangeTextDocument(({ document, contentChanges }) => {
        if (document === this.showing?.editor.document && contentChanges.length > 0) this.discard();
      }),
      vscode.window.onDidChangeVisibleTextEditors((editors) => {
        if (this.showing !== undefined && !editors.includes(this.showing.editor)) this.discard();
      }),
      // In another editor beside it Tab is to indent.
      vscode.window.onDidChangeActiveTextEditor(() => this.bindKeys()),
    ];
  }

  /** Draws the edits of `editor`'s document that are in `edit`; false if it is not at `version`, which they are for. */
  show(editor: vscode.TextEditor, edit: vscode.WorkspaceEdit, version: number): boolean {
    this.discard();
    if (editor.document.version !== version) return false;
    const edits = edit.get(editor.document.uri);
    this.showing = { editor, version, edit };
    editor.setDecorations(this.old, edits.filter((each) => !each.range.isEmpty).map((each) => each.range));
    editor.setDecorations(this.filled, edits.map((each) => drawn(each, editor.document)));
    const first = edits[0];
    if (first !== undefined) editor.revealRange(first.range, vscode.TextEditorRevealType.InCenterIfOutsideViewport);
    this.bindKeys();
    const holes = edits.length === 1 ? "1 hole" : `${edits.length} holes`;
    this.message = vscode.window.setStatusBarMessage(`Infill previews ${holes}: Tab accepts, Escape discards`);
    return true;
  }

  /** Puts the edits into the document, as one step to undo. */
  async accept(): Promise<void> {
    const { showing } = this;
    this.discard();
    if (showing !== undefined && showing.version === showing.editor.document.version) {
      await vscode.workspace.applyEdit(showing.edit);
    }
  }

  discard(): void {
    if (this.showing === undefined) return;
    this.message?.dispose();
    this.showing.editor.setDecorations(this.old, []);
    this.showing.editor.setDecorations(this.filled, []);
    this.showing = undefined;
    this.bindKeys();
  }

  private bindKeys(): void {
    const here = this.showing !== undefined && this.showing.editor === vscode.window.activeTextEditor;
    void vscode.commands.executeCommand("setContext", CONTEXT, here);
  }

  dispose(): void {
    this.discard();
    for (const each of [...this.subscriptions, this.old, this.filled]) each.dispose();
  }
}

/** One line beside the hole, and the whole of it where the pointer rests. */
function drawn(edit: vscode.TextEdit, document: vscode.TextDocument): vscode.DecorationOptions {
  const hover = new vscode.MarkdownString().appendCodeblock(edit.newText, document.languageId);
  const line = edit.newText.trim().replaceAll(/\s*\r?\n\s*/g, " ⏎ ").replaceAll(" ", "\u00a0");
  return { range: edit.range, hoverMessage: hover, renderOptions: { after: { contentText: line } } };
}
