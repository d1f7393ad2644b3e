/** Silence for a while: no request is sent until it ends. */

import * as vscode from "vscode";
import type { StatusBar } from "./status";

export class Snooze implements vscode.Disposable {
  private timer: NodeJS.Timeout | undefined;

  constructor(private readonly status: StatusBar) {}

  get active(): boolean {
    return this.timer !== undefined;
  }

  start(minutes: number): void {
    this.stop();
    const end = new Date(Date.now() + minutes * 60_000);
    this.timer = setTimeout(() => this.stop(), minutes * 60_000);
    this.status.snooze(end.toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" }));
    void vscode.commands.executeCommand("editor.action.inlineSuggest.hide");
  }

  stop(): void {
    clearTimeout(this.timer);
    this.timer = undefined;
    this.status.snooze(undefined);
  }

  dispose(): void {
    clearTimeout(this.timer);
  }
}
