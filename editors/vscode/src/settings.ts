/** The settings that are the server's business, as it is to get them. What they are is the server's table. */

import * as vscode from "vscode";
import schema from "../../../docs/settings.schema.json";

const NAMES = Object.keys(schema.properties);
const NULLABLE = Object.entries(schema.properties)
  .filter(([, { type }]) => type.includes("null"))
  .map(([name]) => name);

/** The server's settings as they count for `scope`; our own, such as `infill.path`, are not among them. */
export function serverSettings(scope?: vscode.ConfigurationScope): Record<string, unknown> {
  const configuration = vscode.workspace.getConfiguration("infill", scope);
  const settings = Object.fromEntries(
    NAMES.map((name) => {
      const value = configuration.get(name);
      return [name, value === "" && NULLABLE.includes(name) ? null : value];
    }),
  );
  // No setting anybody writes: it tells the server not to index the folders, nor to heed their infill.toml.
  return vscode.workspace.isTrusted ? settings : { ...settings, restricted: true };
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
