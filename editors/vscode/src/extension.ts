/** Wires the parts together: finds the server, starts it, and gives the commands somebody to talk to. */

import * as vscode from "vscode";
import type { LanguageClient } from "vscode-languageclient/node";
import { CanvasView } from "./canvas";
import { startClient } from "./client";
import { registerCommands } from "./commands";
import { findServer } from "./find";
import { install } from "./install";
import { Preview } from "./preview";
import { Snooze } from "./snooze";
import { StatusBar } from "./status";

/** Settings that only a new server takes up. */
const NEEDS_RESTART = ["infill.path", "infill.log_level"];

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
      if (choice === "Set the Path…") {
        await vscode.commands.executeCommand("workbench.action.openSettings", "infill.path");
      }
      if (choice === "Show the Log") this.log.show();
    });
  }
}

let infill: Infill | undefined;

export async function activate(context: vscode.ExtensionContext): Promise<void> {
  infill = new Infill(vscode.Uri.joinPath(context.globalStorageUri, "server").fsPath);
  const running = infill;
  context.subscriptions.push(
    running,
    ...registerCommands(running),
    vscode.workspace.onDidGrantWorkspaceTrust(() => running.restart()),
    vscode.workspace.onDidChangeConfiguration((event) => {
      if (NEEDS_RESTART.some((name) => event.affectsConfiguration(name))) void running.restart();
    }),
  );
  // Not awaited: an editor that opens is not to wait for Python.
  void running.restart();
}

export async function deactivate(): Promise<void> {
  await infill?.stop();
}
