// A model that is not there yet: while it is fetched the status bar says how far it is, and then it suggests.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import path from "node:path";
import readline from "node:readline";
import { after, before, test } from "node:test";
import { startCodeServer } from "./code_server.mjs";
import { documents } from "./documents.mjs";
import { witnessed } from "./evidence.mjs";
import { python, repository } from "./paths.mjs";
import { launch, Workbench } from "./workbench.mjs";

let hub, address, browser, server;

before(async () => {
  // Holds back half of the weights until it is told to go on.
  hub = spawn(python, [path.join(repository, "tests/editors/hub.py")], { stdio: ["pipe", "pipe", "inherit"] });
  [address] = await once(readline.createInterface(hub.stdout), "line");
  const variables = { HF_ENDPOINT: address, HF_HUB_DISABLE_XET: "1", HF_HUB_DISABLE_TELEMETRY: "1" };
  server = await startCodeServer({ files: { "total.py": documents["total.py"] }, variables });
  browser = await launch();
});

after(async () => {
  await browser?.close();
  await server?.stop();
  hub?.kill();
});

test("the status bar shows how far the download of a model is", async () => {
  const workbench = await Workbench.open(browser, server, "total.py");
  await witnessed("download", workbench, server, async () => {
    await workbench.state("ready");
    await workbench.choose("Infill: Choose the Model…", "A name on the hub");
    await workbench.page.locator(".quick-input-widget input").fill("own/small");
    await workbench.press("Enter");
    await workbench.state("loading");
    const progress = workbench.page.locator(".statusbar-item", { hasText: /Infill: .*\d+%/ }).first();
    await progress.waitFor();
    hub.stdin.write("go on\n");
    await progress.waitFor({ state: "detached" });
    await workbench.state("ready");
    assert.equal((await server.settings())["infill.model"], "own/small");
    await workbench.goTo(...workbench.endOf(documents["total.py"], "result += "));
    await workbench.type("v");
    assert.notEqual(await workbench.ghost(), "");
  });
});
