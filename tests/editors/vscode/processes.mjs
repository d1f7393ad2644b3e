// The processes of one code-server, found through /proc by what it alone has: its home.

import { readdir, readFile } from "node:fs/promises";

/** Process ids of the language servers, the oldest first. */
export function serverProcesses(server) {
  return processes(server, /\0lsp\0/);
}

/** Process ids of the engines that the language servers have started. */
export function engineProcesses(server) {
  return processes(server, /\0-m\0engine\.service\0/);
}

export async function kill(pids) {
  for (const pid of await pids) process.kill(pid, "SIGKILL");
}

async function processes({ home }, command) {
  const found = [];
  for (const pid of (await readdir("/proc")).filter((name) => /^\d+$/.test(name))) {
    const [line, environment] = await Promise.all(
      ["cmdline", "environ"].map((file) => readFile(`/proc/${pid}/${file}`, "utf8").catch(() => "")),
    );
    if (command.test(line) && environment.split("\0").includes(`HOME=${home}`)) found.push(Number(pid));
  }
  return found.sort((a, b) => a - b);
}
