// What is left of a failed test: a picture of the window and the extension's log, in the cache's `failures`.

import { mkdir, writeFile } from "node:fs/promises";
import path from "node:path";
import { cache } from "./paths.mjs";

export async function keepEvidence(name, workbench, server) {
  const folder = path.join(cache, "failures");
  const base = path.join(folder, name.replaceAll(/\W+/g, "-").slice(0, 60));
  await mkdir(folder, { recursive: true });
  await workbench?.page.screenshot({ path: `${base}.png` });
  await writeFile(`${base}.log`, await server.log());
  console.error(`evidence: ${base}.png and .log`);
}

/** Runs `body`, and keeps evidence if it fails. */
export async function witnessed(name, workbench, server, body) {
  try {
    return await body();
  } catch (error) {
    await keepEvidence(name, workbench, server);
    throw error;
  }
}
