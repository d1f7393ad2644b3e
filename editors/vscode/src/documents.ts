/** Which documents get suggestions. */

import * as vscode from "vscode";

const LANGUAGES = [
  "python",
  "javascript",
  "javascriptreact",
  "typescript",
  "typescriptreact",
  "go",
  "rust",
  "java",
  "c",
  "cpp",
];
const SCHEMES = ["file", "untitled", "vscode-notebook-cell"];

export const documentSelector = LANGUAGES.flatMap((language) => SCHEMES.map((scheme) => ({ language, scheme })));

export function isServed(document: vscode.TextDocument): boolean {
  return vscode.languages.match(documentSelector, document) > 0;
}

/** Why a document is none of the server's, which never hears of it: a sentence. */
export function whyNotServed({ languageId, uri }: vscode.TextDocument): string {
  return LANGUAGES.includes(languageId)
    ? `only files on a disk, untitled files and notebooks get suggestions, and this is of the kind "${uri.scheme}".`
    : `this file is in the language "${languageId}"; there are suggestions in ${LANGUAGES.join(", ")}.`;
}
