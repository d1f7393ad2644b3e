// The engine's own page in a real browser, with the embedded model: status, the live canvas, and who may see it.

import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { mkdtemp, rm } from "node:fs/promises";
import os from "node:os";
import path from "node:path";
import { after, before, test } from "node:test";
import { promisify } from "node:util";
import { fileURLToPath } from "node:url";
import { chromium } from "playwright-core";

const repository = fileURLToPath(new URL("../..", import.meta.url));
const infill = process.env.INFILL ?? path.join(repository, ".venv/bin/infill");
const PATIENCE_MS = 120_000;
const PICTURE = process.env.INFILL_PAGE_PICTURE;

let folder, browser, address, key;
const run = promisify(execFile);
const environment = () => ({ ...process.env, INFILL_RUNTIME_DIR: path.join(folder, "run") });

before(async () => {
  folder = await mkdtemp(path.join(os.tmpdir(), "infill-"));
  const { stdout } = await run(infill, ["engine", "start", "--port", "0"], { env: environment() });
  [, address, key] = stdout.match(/url (\S+) {2}key (\S+)/);
  browser = await chromium.launch({
    executablePath: process.env.INFILL_CHROMIUM ?? "/usr/bin/chromium",
    args: ["--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"],
  });
});

after(async () => {
  await browser?.close();
  await run(infill, ["engine", "stop"], { env: environment() });
  await rm(folder, { recursive: true, force: true });
});

async function open(url) {
  const page = await browser.newPage({ viewport: { width: 900, height: 500 } });
  page.setDefaultTimeout(PATIENCE_MS);
  page.problems = [];
  page.on("pageerror", (error) => page.problems.push(String(error)));
  page.on("console", (message) => message.type() === "error" && page.problems.push(message.text()));
  page.answer = await page.goto(url);
  return page;
}

/** Has the engine fill a hole; resolves when its answer has ended. */
function fill(prefix, fates = {}) {
  const body = JSON.stringify({ request: { prompt: { prefix, suffix: "\n" }, decoding: "denoise" }, fates });
  const headers = { Authorization: `Bearer ${key}` };
  return fetch(`${address}/v1/fill`, { method: "POST", headers, body }).then((answer) => answer.text());
}

test("without the key there is nothing to see", async () => {
  const page = await open(`${address}/`);
  assert.equal(page.answer.status(), 401);
  await page.close();
});

test("status and the live canvas are shown, and what is denoised is text and nothing else", async () => {
  const page = await open(`${address}/?key=${key}`);
  await page.locator("#status").getByText(/pid \d+/).waitFor();
  assert.equal(await page.locator("#step").textContent(), "no canvas yet");
  const became = { offered: 4, accepted: 1 };
  assert.match(await fill("def area(width, height):\n    return ", became), /event: end/);
  await page.getByText(/step \d+, done/).waitFor();
  await page.locator("#canvas span").first().waitFor();
  await page.locator("#status").getByText("embedded (cpu)").waitFor();
  await page.locator("#status").getByText(/p50 \d+ ms, p95 \d+ ms/).waitFor();
  await page.locator("#status").getByText(/25% of 4 accepted/).waitFor();
  if (PICTURE) await page.screenshot({ path: PICTURE });
  // A key in the address is in the history; from now on the cookie is enough.
  await page.goto(`${address}/`);
  await page.locator("#status").getByText(/pid \d+/).waitFor();
  assert.deepEqual(page.problems, []);
  await page.close();
});

test("a canvas with markup in it is shown as it is", async () => {
  const page = await open(`${address}/?key=${key}`);
  await page.locator("#status").getByText(/pid \d+/).waitFor();
  // The page draws whatever comes with the event: here one as the engine would send it.
  await page.evaluate(() => {
    const data = { step: 3, done: false, tokens: [["<img src=x onerror=document.title='hacked'>", 0.5]] };
    draw(data);
  });
  assert.equal(await page.locator("#canvas img").count(), 0);
  assert.match(await page.locator("#canvas").textContent(), /^<img src=x/);
  assert.equal(await page.title(), "Infill engine");
  await page.close();
});

test("the page says so when the engine has gone, and goes on when it is back", async () => {
  const page = await open(`${address}/?key=${key}`);
  await page.locator("#status").getByText(/pid \d+/).waitFor();
  await run(infill, ["engine", "stop"], { env: environment() });
  await page.getByText("the engine has gone").waitFor();
  const port = new URL(address).port;
  await run(infill, ["engine", "start", "--port", port], { env: environment() });
  await page.getByText("the engine has gone").waitFor({ state: "hidden" });
  await page.close();
});
