// Runs one of the extension's modules by itself, without an editor: what it imports from `vscode` is the test's.

import { createRequire } from "node:module";
import path from "node:path";
import { repository } from "./paths.mjs";

const extension = path.join(repository, "editors/vscode");
const require = createRequire(path.join(extension, "package.json")); // `make vsix` has installed what is in there
const OUTSIDE = ["vscode", "vscode-languageclient/node"];

/** What `src/NAME.ts` exports; `outside` has the modules that are not bundled, by name. */
export async function load(name, outside) {
  const { build } = require("esbuild");
  const { outputFiles } = await build({
    entryPoints: [path.join(extension, `src/${name}.ts`)],
    bundle: true,
    write: false,
    platform: "node",
    format: "cjs",
    external: OUTSIDE,
    logLevel: "warning",
  });
  const module = { exports: {} };
  const run = new Function("module", "exports", "require", outputFiles[0].text);
  run(module, module.exports, (wanted) => outside[wanted] ?? require(wanted));
  return module.exports;
}
