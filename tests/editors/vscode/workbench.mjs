// A browser that shows the workbench, and what a person does in it.

import { readFile } from "node:fs/promises";
import path from "node:path";
import { chromium as playwright } from "playwright-core";
import { chromium } from "./paths.mjs";
import { until } from "./until.mjs";

const FLAGS = [
  "--no-sandbox",
  "--disable-gpu",
  "--disable-quic",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
];
/** How long anything may take before it counts as failed: tests may share two cores with much else. */
const PATIENCE_MS = 120_000;
export const GHOST = '[class*="ghost-text"]';

export function launch() {
  return playwright.launch({ executablePath: chromium, headless: true, args: FLAGS });
}

export class Workbench {
  constructor(page, server) {
    this.page = page;
    this.server = server;
  }

  /** Opens the workspace with a file of it in a new page; `size` is the window's. */
  static async open(browser, server, file, size = { width: 1100, height: 700 }) {
    const page = await browser.newPage({ viewport: size });
    // Nothing but the server under test is to be reached.
    await page.route(
      (url) => url.hostname !== "127.0.0.1",
      (route) => route.abort(),
    );
    page.setDefaultTimeout(PATIENCE_MS);
    await page.goto(server.address(file), { waitUntil: "commit" });
    const workbench = new Workbench(page, server);
    await page.locator(".monaco-workbench").waitFor();
    if (file !== undefined) await workbench.shown(file);
    return workbench;
  }

  /** Opens another file of the workspace through the explorer. */
  async openFile(file) {
    await this.page.locator(`.explorer-folders-view [aria-label^="${file}"]`).first().dblclick();
    await this.shown(file);
  }

  async shown(file) {
    await this.page.locator(`.tab.active[data-resource-name="${file}"]`).waitFor();
    await this.page.locator(".editor-instance .view-line").first().waitFor();
    this.file = file;
  }

  /** The text of the status bar's entry. */
  status() {
    return this.page.locator('[id="infill.infill.infill.status"]');
  }

  /** Waits for a state, which is what the entry is labelled with. */
  async state(name) {
    const entry = this.page.locator(
      `[id="infill.infill.infill.status"] [aria-label^="Infill, ${name},"], [id="infill.infill.infill.status"][aria-label^="Infill, ${name},"]`,
    );
    await entry.first().waitFor({ state: "attached" });
  }

  /** Puts the cursor at a line and a column, from 1, and the focus into the editor. */
  async goTo(line, column) {
    await this.page.locator(".editor-instance .monaco-editor").first().click({ position: { x: 300, y: 40 } });
    await this.page.keyboard.press("Control+g");
    const input = this.page.locator(".quick-input-widget input");
    await input.fill(`:${line}:${column}`);
    await this.page.keyboard.press("Enter");
    await this.page.locator(".quick-input-widget").waitFor({ state: "hidden" });
    await this.page.getByText(new RegExp(`^Ln ${line}, Col ${column}`)).waitFor();
  }

  /** Runs a command of the palette by its whole title. */
  async run(title) {
    await this.page.keyboard.press("F1");
    await this.page.locator(".quick-input-widget input").fill(`>${title}`);
    await this.page.locator(`.quick-input-list .monaco-list-row[aria-label^="${title}"]`).first().click();
  }

  /** Runs a command that asks, and takes the entry that contains `label`. */
  async choose(title, label) {
    await this.run(title);
    await this.page.locator(".quick-input-list .monaco-list-row", { hasText: label }).first().click();
  }

  /** The labels of the status bar's menu, which is closed again. */
  async menu() {
    await this.status().click();
    const rows = this.page.locator(".quick-input-list .monaco-list-row");
    await rows.first().waitFor();
    const labels = await rows.locator(".label-name").allInnerTexts();
    await this.page.keyboard.press("Escape");
    await this.page.locator(".quick-input-widget").waitFor({ state: "hidden" });
    return labels.map((label) => label.trim());
  }

  /** Where the cursor is after the first `text` in `document`: line and column, from 1. */
  endOf(document, text) {
    const before = document.slice(0, document.indexOf(text) + text.length).split("\n");
    return [before.length, before.at(-1).length + 1];
  }

  async cursorLine() {
    const text = await this.page.getByText(/^Ln \d+, Col \d+/).textContent();
    return Number(text.match(/\d+/)[0]);
  }

  type(text) {
    return this.page.keyboard.type(text);
  }

  press(keys) {
    return this.page.keyboard.press(keys);
  }

  notification(text) {
    return this.page.locator(".notification-list-item-message", { hasText: text });
  }

  /** What decorations write beside the code, in the order of the page; undefined where there is nothing. */
  async drawn() {
    const texts = await this.page.locator('.view-lines [class*="TextEditorDecorationType"]').evaluateAll((all) =>
      all.map((each) => getComputedStyle(each, "::after").content).filter((content) => content !== "none"),
    );
    // What is taken away while it is looked at has no content, not even none.
    const drawn = texts.filter((content) => content !== "");
    if (drawn.length === 0) return undefined;
    return drawn.map((content) => JSON.parse(content).replaceAll("\u00a0", " "));
  }

  /** Asks for a suggestion as somebody does with a key, and waits for it. */
  async invoke() {
    await this.press("Alt+\\");
    return this.ghost();
  }

  /**
   * Types a character until there is ghost text for it: what was asked for during a breakdown, or came too late on
   * a busy machine, is lost, and VS Code does not ask twice about the same text and place.
   */
  async typeUntilAnswered(character) {
    return until("ghost text again", async () => {
      await this.type(character);
      const shown = await this.ghost(5000).catch(() => "");
      if (shown === "") await this.press("Backspace");
      return shown;
    });
  }

  /** The ghost text once there is some. */
  async ghost(timeout = PATIENCE_MS) {
    await this.page.locator(GHOST).first().waitFor({ timeout });
    return this.ghostNow();
  }

  async ghostNow() {
    const texts = await this.page.locator(GHOST).allTextContents();
    return texts.join("").replaceAll("\u00a0", " ");
  }

  async noGhost() {
    await until("no ghost text", async () => (await this.page.locator(GHOST).count()) === 0);
  }

  /** Saves until what is on the disk is as `expected` says: a text in it, or a predicate. */
  async saved(expected) {
    const holds = typeof expected === "function" ? expected : (text) => text.includes(expected);
    let text;
    const asExpected = async () => {
      await this.press("Control+s");
      text = await readFile(path.join(this.server.workspace, this.file), "utf8");
      return text !== "" && holds(text); // it is emptied before it is written
    };
    await until("the file is saved as expected", asExpected).catch((error) => {
      throw new Error(`${error.message}: ${expected}\nbut it is ${JSON.stringify(text)}`);
    });
    return text;
  }

  async close() {
    await this.page.close();
  }
}
