// What somebody sees and does in a real VS Code, with the packaged extension, the real server and the
// embedded model, all settings of it as shipped but the seed. One code-server and one browser serve all of it; each test has a file of its own.

import assert from "node:assert/strict";
import { after, afterEach, before, test } from "node:test";
import { startCodeServer } from "./code_server.mjs";
import { documents } from "./documents.mjs";
import { keepEvidence } from "./evidence.mjs";
import { engineProcesses, kill, serverProcesses } from "./processes.mjs";
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
  const ghost = await workbench.typeUntilAnswered("v");
  assert.notEqual(ghost, "");
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
  await workbench.goTo(...workbench.endOf(documents["words.py"], "double(self):\n        return "));
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
  await workbench.saved(`double(self):\n        return ${taken}\n`);
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
  await workbench.goTo(...workbench.endOf(documents["cycle.py"], "return "));
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

test("a language switched off is silent, says why, and can be switched on again", async () => {
  const off = async () => (await server.settings())["infill.disabled_languages"];
  await workbench.openFile("silent.py");
  await workbench.run("Infill: Suggest or Not in This Language");
  await until("the setting is written", async () => (await off())?.[0] === "python");
  await workbench.goTo(...workbench.endOf(documents["silent.py"], "result += "));
  await workbench.type("v");
  await until("the log has the request", async () => (await server.log()).includes("silent.py version 2"));
  await workbench.run("Infill: Why Is There No Suggestion?");
  await workbench.notification("Infill: suggestions are switched off for python").first().waitFor();
  assert.equal(await workbench.page.locator(GHOST).count(), 0);
  await workbench.run("Notifications: Clear All Notifications");
  await workbench.run("Infill: Suggest or Not in This Language");
  await until("it is taken back", async () => (await off())?.length === 0);
});

test("all holes are filled together, and one undo takes them back", async () => {
  await workbench.openFile("holes.py");
  await workbench.goTo(1, 1);
  await workbench.run("Infill: Fill All Holes");
  await workbench.saved((text) => !text.includes("___") && text.includes("def deposit(self, amount):\n"));
  await workbench.press("Control+z");
  await workbench.saved((text) => text === documents["holes.py"]);
});

test("filled holes are previewed: Escape drops them, Tab takes them", async () => {
  await workbench.openFile("preview.py");
  await workbench.goTo(1, 1);
  await workbench.run("Infill: Preview All Holes Filled");
  const drawn = await until("the preview is drawn", () => workbench.drawn());
  assert.equal(drawn.length, 3);
  await workbench.press("Escape");
  await until("the preview is gone", async () => (await workbench.drawn()) === undefined);
  await workbench.saved((text) => text === documents["preview.py"]);
  await workbench.run("Infill: Preview All Holes Filled");
  const again = await until("the preview is drawn", () => workbench.drawn());
  await workbench.press("Tab");
  const text = await workbench.saved((now) => !now.includes("___"));
  for (const middle of again) assert.ok(text.includes(middle), `${middle} should be in the file`);
});

test("a file in another language says that it gets no suggestions", async () => {
  await workbench.openFile("quiet.txt");
  await workbench.run("Infill: Why Is There No Suggestion?");
  await workbench.notification('this file is in the language "plaintext"').first().waitFor();
  await workbench.run("Notifications: Clear All Notifications");
});

test("the walkthrough's example gets a suggestion at once", async () => {
  await workbench.run("Infill: Open an Example");
  assert.notEqual(await workbench.ghost(), "");
  await workbench.press("Escape");
  await workbench.run("View: Revert and Close Editor");
});

test("a marker's lightbulb offers to fill it, and does", async () => {
  await workbench.openFile("action.py");
  await workbench.goTo(...workbench.endOf(documents["action.py"], "self.owner = _"));
  await workbench.press("Control+.");
  await workbench.page.locator(".action-widget .monaco-list-row", { hasText: "Fill this hole with Infill" }).first().click();
  await workbench.saved((text) => /self\.owner = (?!___)\S/.test(text));
});

test("a syntax error that VS Code reports gets a quick fix, and it mends the file", async () => {
  await workbench.openFile("broken.js");
  await workbench.goTo(...workbench.endOf(documents["broken.js"], 'console.log("total", total([1, 2])'));
  // TypeScript's own server, which comes with VS Code, is the one that finds the error.
  await workbench.page.locator(".cdr.squiggly-error").first().waitFor();
  const offered = workbench.page.locator(".action-widget .monaco-list-row", { hasText: /Fix .* with Infill/ }).first();
  // The extension hears of the error after it is drawn, and a menu that is open stays as it is.
  await until("the fix is offered", async () => {
    await workbench.press("Escape");
    await workbench.press("Control+.");
    return offered.waitFor({ timeout: 3000 }).then(() => true, () => false);
  });
  await offered.click();
  await workbench.saved((text) => text.includes('console.log("total", total([1, 2]));\n'));
  await workbench.page.locator(".cdr.squiggly-error").first().waitFor({ state: "detached" });
});

test("a selection is rewritten, and nothing but it", async () => {
  await workbench.openFile("rewrite.py");
  await workbench.goTo(...workbench.endOf(documents["rewrite.py"], "result += "));
  await workbench.press("Shift+End");
  await workbench.run("Infill: Rewrite the Selection");
  const [before, after] = documents["rewrite.py"].split("something");
  await workbench.saved((text) => text.startsWith(before) && text.endsWith(after) && !text.includes("something"));
  await workbench.press("Control+z");
  await workbench.saved((text) => text === documents["rewrite.py"]);
});

test("the canvas is drawn while it is denoised, once somebody wants to see it", async () => {
  await workbench.openFile("canvas.py");
  await workbench.choose("Infill: Menu…", "Show the canvas");
  await until("the setting is written", async () => (await server.settings())["infill.canvas"] === true);
  await workbench.goTo(1, 1);
  await workbench.page.evaluate(watchDecorations);
  // Several holes are denoised together; a line alone is there before anybody could see how it came about.
  await workbench.run("Infill: Fill All Holes");
  await workbench.saved((text) => !text.includes("___"));
  const seen = await workbench.page.evaluate(() => [...globalThis.seen]);
  assert.ok(seen.length > 0, "no step was drawn");
  await until("nothing of it is left", async () => (await workbench.drawn()) === undefined);
  await workbench.choose("Infill: Menu…", "Hide the canvas");
});

test("after kill -9 the server comes back by itself", async () => {
  const [before] = await serverProcesses(server);
  await kill(serverProcesses(server));
  const [now] = await until("another process", async () => {
    const found = await serverProcesses(server);
    return found.length > 0 && found[0] !== before && found;
  });
  assert.notEqual(now, before);
  await workbench.state("ready");
  await workbench.openFile("again.py");
  await workbench.goTo(...workbench.endOf(documents["again.py"], "result += "));
  assert.notEqual(await workbench.typeUntilAnswered("v"), "");
});

test("after kill -9 of the engine suggestions come back, from another one", async () => {
  const [before] = await until("the engine runs", async () => {
    const found = await engineProcesses(server);
    return found.length > 0 && found;
  });
  await kill(engineProcesses(server));
  await workbench.openFile("engine.py");
  await workbench.goTo(...workbench.endOf(documents["engine.py"], "result += "));
  assert.notEqual(await workbench.typeUntilAnswered("v"), "");
  const now = await engineProcesses(server);
  assert.ok(now.length > 0 && !now.includes(before), `engines ${now}, and ${before} was killed`);
});

/** In the page: `seen` gathers what decorations have written beside the code. */
function watchDecorations() {
  globalThis.seen = new Set();
  new MutationObserver(() => {
    for (const each of document.querySelectorAll('.view-lines [class*="TextEditorDecorationType"]')) {
      const { content } = getComputedStyle(each, "::after");
      if (content !== "none") globalThis.seen.add(content);
    }
  }).observe(document.querySelector(".editor-instance"), { subtree: true, childList: true, attributes: true });
}
