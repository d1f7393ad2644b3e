/** Runs the server as a child process and speaks to it; it comes back by itself after a crash. */

import * as vscode from "vscode";
import {
  CloseAction,
  ErrorAction,
  ErrorHandler,
  LanguageClient,
  LanguageClientOptions,
  RevealOutputChannelOn,
  State,
} from "vscode-languageclient/node";
import { documentSelector } from "./documents";
import type { Server } from "./find";
import { canvasNotification, statusNotification, type Canvas } from "./protocol";
import { serverSettings } from "./settings";
import type { StatusBar } from "./status";

const MOST_RESTARTS = 4; // in three minutes; then something is wrong that starting again does not mend

export interface Surroundings {
  log: vscode.LogOutputChannel;
  status: StatusBar;
  onCanvas: (canvas: Canvas) => void;
  /** Whether suggestions are wanted at this moment. */
  quiet: () => boolean;
}

/** Starts a server and returns its client once it answers. */
export async function startClient(server: Server, around: Surroundings): Promise<LanguageClient> {
  const level = vscode.workspace.getConfiguration("infill").get<string>("log_level", "warning");
  const executable = { command: server.command, args: ["lsp", "--log-level", level] };
  const client: LanguageClient = new LanguageClient("infill", "Infill", executable, options(around, () => client));
  client.onNotification(statusNotification, (status) => around.status.show(status));
  client.onNotification(canvasNotification, around.onCanvas);
  client.onDidChangeState(({ newState }) => {
    if (newState === State.Starting) around.status.show({ state: "starting", message: "starting the server" });
    if (newState === State.Running) around.status.show({ state: "loading", message: "the server has started" });
  });
  await client.start();
  return client;
}

function options({ log, status, quiet }: Surroundings, client: () => LanguageClient): LanguageClientOptions {
  let usual: ErrorHandler | undefined;
  return {
    documentSelector,
    outputChannel: log,
    revealOutputChannelOn: RevealOutputChannelOn.Never,
    initializationOptions: () => serverSettings(),
    synchronize: { configurationSection: "infill" },
    errorHandler: {
      // Writing to a server that has just died fails several times over, and the usual handler would stop it
      // for good; that it has ended is told next, and starts it again.
      error: (error) => {
        log.warn(`the connection to the server: ${error.message}`);
        return { action: ErrorAction.Continue, handled: true };
      },
      closed: async () => {
        log.warn("the server ended unexpectedly");
        const result = await handler().closed();
        if (result.action === CloseAction.DoNotRestart) {
          status.show({ state: "error", message: "the server keeps ending; the log says why" });
        }
        return result;
      },
    },
    middleware: {
      provideInlineCompletionItems: (document, position, context, token, next) =>
        quiet() ? undefined : next(document, position, context, token),
      workspace: {
        configuration: (params) =>
          params.items.map(({ section, scopeUri }) =>
            section === "infill" ? serverSettings(scope(scopeUri)) : null,
          ),
        didChangeConfiguration: async () =>
          client().sendNotification("workspace/didChangeConfiguration", {
            settings: { infill: serverSettings() },
          }),
      },
    },
  };

  function handler(): ErrorHandler {
    usual ??= client().createDefaultErrorHandler(MOST_RESTARTS);
    return usual;
  }
}

function scope(uri: string | undefined): vscode.Uri | undefined {
  return uri === undefined ? undefined : vscode.Uri.parse(uri);
}
