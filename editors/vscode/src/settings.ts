/** The settings that are the server's business, as it is to get them. What they are is the server's table. */

import * as vscode from "vscode";
import schema from "../../../docs/settings.schema.json";

const NAMES = Object.keys(schema.properties);
const NULLABLE = Object.entries(schema.properties)
  .filter(([, { type }]) => type.includes("null"))
  .map(([name]) => name);

/**
 * The server's settings as they count for `scope`, null where nobody has set one: there a project's infill.toml has
 * its say, and a setting that was taken back has to be told. Our own, such as `infill.path`, are not among them.
 */
export function serverSettings(scope?: vscode.ConfigurationScope): Record<string, unknown> {
  const configuration = vscode.workspace.getConfiguration("infill", scope);
  const settings = Object.fromEntries(
    NAMES.map((name) => {
      const value = isSet(configuration, name) ? configuration.get(name) : null;
      return [name, value === "" && NULLABLE.includes(name) ? null : value];
    }),
  );
  // No setting anybody writes: it tells the server not to index the folders, nor to heed their infill.toml.
  return vscode.workspace.isTrusted ? settings : { ...settings, restricted: true };
}

/** Whether somebody has written a setting, for themselves or for the workspace. */
function isSet(configuration: vscode.WorkspaceConfiguration, name: string): boolean {
  const found = configuration.inspect(name);
  const written = [found?.globalValue, found?.workspaceValue, found?.workspaceFolderValue];
  return written.some((value) => value !== undefined);
}

/** Puts a language on the list of those without automatic suggestions, or takes it off. */
export async function switchLanguage(language: string, on: boolean): Promise<void> {
  const others = disabledLanguages().filter((each) => each !== language);
  await write("disabled_languages", on ? others : [...others, language]);
}

export function disabledLanguages(): string[] {
  return vscode.workspace.getConfiguration("infill").get<string[]>("disabled_languages", []);
}

/** Writes a setting for the user, or for the workspace where it says something already. */
export async function write(name: string, value: unknown): Promise<void> {
  const configuration = vscode.workspace.getConfiguration("infill");
  const inWorkspace = configuration.inspect(name)?.workspaceValue !== undefined;
  const target = inWorkspace ? vscode.ConfigurationTarget.Workspace : vscode.ConfigurationTarget.Global;
  await configuration.update(name, value, target);
}
