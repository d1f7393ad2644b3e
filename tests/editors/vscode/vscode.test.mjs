// What somebody sees and does in a real VS Code, with the packaged extension, the real server and the
// embedded model. One code-server and one browser serve all of it; each test has a file of its own.

import assert from "node:assert/strict";
import { after, afterEach, before, test } from "node:test";
import { startCodeServer } from "./code_server.mjs";
import { documents } from "./documents.mjs";
import { keepEvidence } from "./evidence.mjs";
import { killServer, serverProcesses } from "./processes.mjs";
import { until } from "./until.mjs";
import { GHOST, launch, Workbench } from "./workbench.mjs";

let server, browser, workbench;

before(async () => {
  server = await startCodeServer({ files: documents, settings: { "infill.seed": 0 } });
  browser = await launch();
  workbench = await Workbench.open(browser, server, "total.py");
  await workbench.state("ready");
});

afterEach(async ({ name, passed }) => {
  if (!passed) await keepEvidence(name, workbench, server);
});

after(async () => {
  await browser?.close();
  await server?.stop();
});

test("ghost text appears while typing, and Tab takes it", async () => {
  await workbench.goTo(4, 19);
  await workbench.type("v");
  const ghost = await workbench.ghost();
  await workbench.press("Tab");
  await workbench.noGhost();
  await workbench.saved(`        result += v${ghost}\n    return result\n`);
});

test("undo takes an accepted suggestion back in one step", async () => {
  await workbench.press("Control+z");
  await workbench.saved("        result += v\n    return result\n");
});

test("where nothing shows, Tab indents and Escape does nothing", async () => {
  await workbench.openFile("quiet.txt");
  await workbench.goTo(1, 1);
  await workbench.press("Tab");
  await workbench.press("Escape");
  await workbench.saved((text) => text === "    quiet\n");
});

test("Ctrl+Right takes one word, and the rest stays to be taken", async () => {
  await workbench.openFile("words.py");
  await workbench.goTo(...workbench.endOf(documents["words.py"], "return "));
  const ghost = await workbench.invoke();
  assert.match(ghost, /\w+\W+\w+/, "the suggestion should have more than one word");
  await workbench.press("Control+ArrowRight");
  const rest = await until("the rest shows", async () => {
    const now = await workbench.ghostNow();
    return now !== "" && now.length < ghost.length && ghost.endsWith(now) && now;
  });
  const taken = ghost.slice(0, ghost.length - rest.length);
  assert.match(taken, /^\s*\w+\s*$|^\W+$/);
  await workbench.press("Escape");
  await workbench.saved(`return ${taken}\n`);
});

test("Ctrl+Alt+Right takes one line of several", async () => {
  await workbench.openFile("lines.py");
  await workbench.goTo(...workbench.endOf(documents["lines.py"], "is empty.\"\"\"\n        "));
  const ghost = await workbench.invoke();
  await workbench.press("Control+Alt+ArrowRight");
  await until("one line is taken", async () => (await workbench.ghostNow()) !== ghost);
  await workbench.press("Escape");
  const before = documents["lines.py"].split("\n").length;
  const text = await workbench.saved((now) => now.length > documents["lines.py"].length);
  assert.ok(text.split("\n").length <= before + 1);
});

test("Alt+] goes through the alternatives", async () => {
  await workbench.openFile("cycle.py");
  await workbench.goTo(...workbench.endOf(documents["cycle.py"], "    return "));
  const first = await workbench.invoke();
  await workbench.press("Alt+]");
  const second = await until("another suggestion", async () => {
    const now = await workbench.ghostNow();
    return now !== "" && now !== first && now;
  });
  await workbench.press("Alt+[");
  await until("the first again", async () => (await workbench.ghostNow()) === first);
  await workbench.press("Alt+]");
  await until("the second again", async () => (await workbench.ghostNow()) === second);
  await workbench.press("Tab");
  await workbench.saved(`return ${second.trimStart()}`);
});

test("a silence has a reason", async () => {
  await workbench.openFile("total.py");
  await workbench.goTo(1, 6);
  await workbench.type("x");
  await until("the tooltip has it", async () => {
    await workbench.run("Infill: Why Is There No Suggestion?");
    const message = workbench.notification("Infill: ");
    await message.first().waitFor();
    const text = await message.first().textContent();
    await workbench.run("Notifications: Clear All Notifications");
    return text.includes("inside a word");
  });
});

test("snoozed it asks for nothing, and afterwards again", async () => {
  await workbench.openFile("snooze.py");
  await workbench.goTo(...workbench.endOf(documents["snooze.py"], "result += "));
  await workbench.choose("Infill: Snooze…", "5 minutes");
  await workbench.state("snoozed");
  await workbench.type("v");
  await workbench.run("Trigger Inline Suggestion");
  assert.equal(await workbench.page.locator(GHOST).count(), 0);
  await workbench.choose("Infill: Menu…", "End the snooze");
  await workbench.state("ready");
  await workbench.invoke();
});

test("a language is switched off and on in the menu", async () => {
  await workbench.openFile("snooze.py");
  await workbench.run("Infill: Suggest or Not in This Language");
  await until("the setting is written", async () => (await server.settings())["infill.disabled_languages"]?.[0] === "python");
  await workbench.run("Infill: Suggest or Not in This Language");
  await until("it is taken back", async () => (await server.settings())["infill.disabled_languages"]?.length === 0);
});

test("after kill -9 the server comes back by itself", async () => {
  const [before] = await serverProcesses(server);
  await killServer(server);
  const [now] = await until("another process", async () => {
    const found = await serverProcesses(server);
    return found.length > 0 && found[0] !== before && found;
  });
  assert.notEqual(now, before);
  await workbench.state("ready");
  await workbench.openFile("again.py");
  await workbench.goTo(...workbench.endOf(documents["again.py"], "result += "));
  await workbench.type("v");
  assert.notEqual(await workbench.ghost(), "");
});
