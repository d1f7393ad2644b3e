// Where things are: the repository, the cache that setup.sh filled, and the programs in it.

import path from "node:path";
import { fileURLToPath } from "node:url";

export const repository = fileURLToPath(new URL("../../..", import.meta.url));
export const cache = process.env.INFILL_EDITORS_CACHE ?? path.join(repository, ".cache/editors");
export const node = path.join(cache, "node24/bin/node");
export const codeServer = path.join(cache, "code-server/node_modules/code-server/out/node/entry.js");
export const chromium = process.env.INFILL_CHROMIUM ?? "/usr/bin/chromium";
export const vsix = path.join(repository, "editors/vscode/infill.vsix");
export const python = path.join(repository, ".venv/bin/python");
export const infill = path.join(repository, ".venv/bin/infill");
