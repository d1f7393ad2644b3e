/** The status bar entry: the server's state, and why there was no suggestion. */

import * as vscode from "vscode";
import type { Status } from "./protocol";

export interface Shown extends Omit<Status, "state"> {
  state: Status["state"] | "starting" | "snoozed";
}

const ICONS: Record<Shown["state"], string> = {
  starting: "$(loading~spin)",
  loading: "$(loading~spin)",
  ready: "$(sparkle)",
  busy: "$(sync~spin)",
  error: "$(error)",
  off: "$(circle-slash)",
  snoozed: "$(bell-slash)",
};

export class StatusBar implements vscode.Disposable {
  private readonly item: vscode.StatusBarItem;
  private current: Shown = { state: "off", message: "not started" };
  private snoozedUntil: string | undefined;

  constructor() {
    this.item = vscode.window.createStatusBarItem("infill.status", vscode.StatusBarAlignment.Right, 100);
    this.item.name = "Infill";
    this.item.command = "infill.menu";
    this.item.show();
    this.show(this.current);
  }

  /** What the server says of itself, or what we say of it. */
  show(status: Shown): void {
    this.current = status;
    this.draw();
  }

  /** `until` is a time of day; undefined ends it. */
  snooze(until: string | undefined): void {
    this.snoozedUntil = until;
    this.draw();
  }

  /** What is shown, the server's own state aside from a snooze. */
  get shown(): Shown {
    if (this.snoozedUntil === undefined) return this.current;
    return { ...this.current, state: "snoozed", message: `snoozed until ${this.snoozedUntil}` };
  }

  dispose(): void {
    this.item.dispose();
  }

  private draw(): void {
    const { state, message, reason, model } = this.shown;
    this.item.text = `${ICONS[state]} Infill`;
    // Plain text all of it: a reason may quote a file name, which must not become a link.
    this.item.tooltip = [
      `Infill: ${message}`,
      reason ? `No suggestion: ${reason}` : undefined,
      model && !message.includes(model) ? `Model: ${model}` : undefined,
      "Click for the menu.",
    ]
      .filter((line) => line !== undefined)
      .join("\n");
    this.item.accessibilityInformation = { label: `Infill, ${state}, ${message}${reason ? `, ${reason}` : ""}` };
    this.item.backgroundColor =
      state === "error" ? new vscode.ThemeColor("statusBarItem.errorBackground") : undefined;
  }
}
