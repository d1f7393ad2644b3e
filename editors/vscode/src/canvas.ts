/**
 * Draws the canvas while it is denoised, where the server sends it (`infill.canvas`): its text after the
 * cursor, each run of characters in the colour of the model's confidence.
 *
 * An editor decoration has one line, so line breaks are drawn as a sign.
 */

import * as vscode from "vscode";
import type { Canvas, CanvasPart } from "./protocol";

/** Upper bounds of confidence and the colour below them, which themes can set. */
const SHADES: readonly [number, string][] = [
  [0.35, "infill.canvas.guess"],
  [0.7, "infill.canvas.unsure"],
  [0.9, "infill.canvas.likely"],
  [Infinity, "infill.canvas.sure"],
];
const MOST_CHARACTERS = 160;
const STALE_AFTER_MS = 3000;

export class CanvasView implements vscode.Disposable {
  private readonly type = vscode.window.createTextEditorDecorationType({
    rangeBehavior: vscode.DecorationRangeBehavior.ClosedClosed,
  });
  private readonly subscription = vscode.workspace.onDidChangeTextDocument(() => this.clear());
  private timer: NodeJS.Timeout | undefined;

  /** Draws one step; the last one leaves nothing, since the suggestion itself follows. */
  show(canvas: Canvas): void {
    this.clear();
    const editor = vscode.window.visibleTextEditors.find(
      (each) => each.document.uri.toString() === vscode.Uri.parse(canvas.uri).toString(),
    );
    if (editor === undefined || canvas.done || isStale(canvas, editor.document)) return;
    const parts = canvas.parts ?? [canvas];
    editor.setDecorations(this.type, parts.flatMap((part) => decorations(withoutTyped(part, editor.document))));
    // A server that dies in mid-denoise sends no last step.
    this.timer = setTimeout(() => this.clear(), STALE_AFTER_MS);
  }

  clear(): void {
    clearTimeout(this.timer);
    for (const editor of vscode.window.visibleTextEditors) editor.setDecorations(this.type, []);
  }

  dispose(): void {
    this.subscription.dispose();
    this.clear();
    this.type.dispose();
  }
}

function isStale(canvas: Canvas, document: vscode.TextDocument): boolean {
  return canvas.version !== null && canvas.version !== document.version;
}

function decorations(part: CanvasPart): vscode.DecorationOptions[] {
  const { line, character } = part.range.end;
  const range = new vscode.Range(line, character, line, character);
  return runs(part).map(({ text, color }) => ({
    range,
    renderOptions: { after: { contentText: text, color: new vscode.ThemeColor(color), fontStyle: "italic" } },
  }));
}

/** A canvas that begins with the text it replaces is drawn from where it goes on. */
function withoutTyped(canvas: CanvasPart, document: vscode.TextDocument): CanvasPart {
  const { start, end } = canvas.range;
  const typed = document.getText(new vscode.Range(start.line, start.character, end.line, end.character));
  if (typed === "" || !canvas.text.startsWith(typed)) return canvas;
  const spread = [...canvas.text].map((_, index, all) => confidenceAt(canvas.confidences, index, all.length));
  return { ...canvas, text: canvas.text.slice(typed.length), confidences: spread.slice([...typed].length) };
}

/** One confidence for each token rather than for each character is shared out evenly. */
function confidenceAt(confidences: readonly number[], index: number, characters: number): number {
  return confidences[Math.floor((index * confidences.length) / characters)] ?? 0;
}

/** The canvas cut where the confidence changes its shade. */
function runs(canvas: CanvasPart): { text: string; color: string }[] {
  const found: { text: string; color: string }[] = [];
  const characters = [...canvas.text];
  for (const [index, character] of characters.slice(0, MOST_CHARACTERS).entries()) {
    const confidence = confidenceAt(canvas.confidences, index, characters.length);
    const color = SHADES.find(([bound]) => confidence < bound)?.[1] ?? "infill.canvas.sure";
    const shown = character === "\n" ? "⏎" : character === " " || character === "\t" ? "\u00a0" : character;
    const last = found.at(-1);
    if (last?.color === color) last.text += shown;
    else found.push({ text: shown, color });
  }
  return found;
}
