/** What the server and this extension say to each other beyond the standard protocol. */

import { NotificationType, type Range, RequestType, type WorkspaceEdit } from "vscode-languageclient/node";

export type ServerState = "loading" | "ready" | "busy" | "error" | "off";

/** `message` is a sentence; `reason` is why nothing was suggested last, if nothing was. */
export interface Status {
  state: ServerState;
  message: string;
  reason?: string | null;
  model?: string | null;
}

/** What a canvas would put in the place of `range`. `confidences` are from 0 to 1, evenly spread over `text`. */
export interface CanvasPart {
  range: Range;
  text: string;
  confidences: number[];
}

/** One step of denoising. `parts` are its holes one by one, where several share the canvas. */
export interface Canvas extends CanvasPart {
  uri: string;
  version: number | null;
  step: number;
  done: boolean;
  parts?: CanvasPart[];
}

/** Why there was nothing, and what was turned down, if anything was. */
export interface Explanation {
  reason: string;
  text: string;
}

/** Why nothing was done, or why not all of it; `filled` counts what was. */
export interface Refusal {
  filled?: number;
  reason?: string | null;
}

export const statusNotification = new NotificationType<Status>("infill/status");
export const canvasNotification = new NotificationType<Canvas>("infill/canvas");

/** What the commands would do, as an edit that nobody applied yet. */
export const fillHoles = new RequestType<
  { textDocument: { uri: string } },
  (Refusal & { edit?: WorkspaceEdit | null }) | null,
  void
>("infill/fillHoles");

/** The server's commands; vscode-languageclient makes editor commands of them under the same names. */
export const serverCommand = {
  fillHole: "infill.fillHole",
  fillAllHoles: "infill.fillAllHoles",
  rewriteSelection: "infill.rewriteSelection",
  explain: "infill.explainNoSuggestion",
  status: "infill.status",
} as const;

export type { WorkspaceEdit };
