// The processes of one code-server, found through /proc by what it alone has: its home.

import { readdir, readFile } from "node:fs/promises";

/** Process ids of the language servers, the oldest first. */
export async function serverProcesses({ home }) {
  const found = [];
  for (const pid of (await readdir("/proc")).filter((name) => /^\d+$/.test(name))) {
    const [command, environment] = await Promise.all(
      ["cmdline", "environ"].map((file) => readFile(`/proc/${pid}/${file}`, "utf8").catch(() => "")),
    );
    if (/\0lsp\0/.test(command) && environment.split("\0").includes(`HOME=${home}`)) found.push(Number(pid));
  }
  return found.sort((a, b) => a - b);
}

export async function killServer(server) {
  for (const pid of await serverProcesses(server)) process.kill(pid, "SIGKILL");
}
