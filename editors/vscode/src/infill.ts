/** The extension's parts, tied together: finds the server, starts it, and gives the commands somebody to talk to. */

import * as vscode from "vscode";
import type { LanguageClient } from "vscode-languageclient/node";
import { CanvasView } from "./canvas";
import { startClient } from "./client";
import { findServer } from "./find";
import { install } from "./install";
import { Preview } from "./preview";
import { Snooze } from "./snooze";
import { StatusBar } from "./status";

/** What the walkthrough's first step is done by. */
const HAS_SERVER = "infill.hasServer";

export class Infill implements vscode.Disposable {
  readonly log = vscode.window.createOutputChannel("Infill", { log: true });
  readonly status = new StatusBar();
  readonly snooze = new Snooze(this.status);
  readonly canvas = new CanvasView();
  readonly preview = new Preview();
  client: LanguageClient | undefined;
  private starting: Promise<void> = Promise.resolve();

  constructor(private readonly isolated: string) {}

  /** Stops a server that runs, and starts one; calls that overlap run one after the other. */
  restart(): Promise<void> {
    this.starting = this.starting.then(() => this.startAnew());
    return this.starting;
  }

  async stop(): Promise<void> {
    await this.starting;
    const { client } = this;
    this.client = undefined;
    // One that is still coming back after a crash cannot be stopped in order.
    await client?.dispose().catch((error: unknown) => this.log.warn(`stopping: ${String(error)}`));
  }

  async install(): Promise<void> {
    if (await install(this.isolated, this.log)) await this.restart();
  }

  async setPath(): Promise<void> {
    await vscode.commands.executeCommand("workbench.action.openSettings", "infill.path");
  }

  dispose(): void {
    for (const each of [this.status, this.snooze, this.canvas, this.preview, this.log]) each.dispose();
  }

  private async startAnew(): Promise<void> {
    const { client: before } = this;
    this.client = undefined;
    await before?.dispose().catch((error: unknown) => this.log.warn(`stopping: ${String(error)}`));
    this.status.show({ state: "starting", message: "looking for the server" });
    try {
      const server = await findServer(this.isolated, this.log);
      if ("problem" in server) return this.missing(server.problem, server.installable);
      this.client = await startClient(server, {
        log: this.log,
        status: this.status,
        onCanvas: (canvas) => this.canvas.show(canvas),
        quiet: () => this.snooze.active,
      });
      await vscode.commands.executeCommand("setContext", HAS_SERVER, true);
    } catch (error) {
      this.log.error(`the server did not start: ${String(error)}`);
      this.status.show({ state: "error", message: "the server did not start; the log says why" });
    }
  }

  /** Says so without waiting for an answer: a restart must not hang on an open message. */
  private missing(problem: string, installable: boolean): void {
    this.log.warn(`server: ${problem}`);
    this.status.show({ state: "off", message: problem });
    const choices = [...(installable ? ["Install…"] : []), "Set the Path…", "Show the Log"];
    void vscode.window.showWarningMessage(`Infill: ${problem}.`, ...choices).then(async (choice) => {
      if (choice === "Install…") await this.install();
      if (choice === "Set the Path…") await this.setPath();
      if (choice === "Show the Log") this.log.show();
    });
  }
}
