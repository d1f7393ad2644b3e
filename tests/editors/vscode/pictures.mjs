// Makes the pictures and the recording of the documentation, from a real VS Code: `npm run pictures`.

import { mkdir, writeFile } from "node:fs/promises";
import path from "node:path";
import gifenc from "gifenc";
import { PNG } from "pngjs";
import { startCodeServer } from "./code_server.mjs";
import { repository } from "./paths.mjs";
import { launch, Workbench } from "./workbench.mjs";

const { GIFEncoder, applyPalette, quantize } = gifenc;
const MEDIA = path.join(repository, "editors/vscode/media");
const SIZE = { width: 720, height: 380 };
const SHORTEST_MS = 40;
const LONGEST_MS = 500; // a slow machine's waits are not the point of the recording
const LAST_MS = 2000;
const MOST_FRAMES = 90;

const ACCOUNT = `class Account:
    def __init__(self, owner, balance):
        self.owner = owner
        self.balance = balance

    def deposit(self, amount):
        """Put money in."""
        

    def withdraw(self, amount):
        """Take money out."""
        self.balance -= amount
`;

const HOLES = `class Account:
    def __init__(self, owner, balance):
        self.owner = ___
        self.balance = ___

    def deposit(self, amount):
        self.balance += ___
`;

const server = await startCodeServer({
  files: { "account.py": ACCOUNT, "holes.py": HOLES },
  settings: {
    "infill.canvas": true,
    "workbench.activityBar.location": "hidden",
    "workbench.sideBar.location": "right",
    "window.commandCenter": false,
    "breadcrumbs.enabled": false,
    "editor.fontSize": 15,
  },
});
const browser = await launch();
try {
  await mkdir(MEDIA, { recursive: true });
  const workbench = await Workbench.open(browser, server, "account.py", SIZE);
  await workbench.state("ready");
  await workbench.run("View: Close Primary Side Bar");
  await workbench.goTo(...workbench.endOf(ACCOUNT, 'Put money in."""\n        '));
  await record(workbench, path.join(MEDIA, "typing.gif"), async () => {
    await workbench.page.keyboard.type("self.b", { delay: 150 });
    await workbench.ghost();
    await workbench.page.screenshot({ path: path.join(MEDIA, "ghost.png") });
    await workbench.press("Tab");
    await workbench.noGhost();
  });
  await workbench.close();
  const holes = await Workbench.open(browser, server, "holes.py", SIZE);
  await holes.state("ready");
  await holes.run("View: Close Primary Side Bar");
  await holes.goTo(1, 1);
  await holes.run("Infill: Preview All Holes Filled");
  await holes.page.getByText(/holes? filled/).first().waitFor({ timeout: 120_000 });
  await holes.page.screenshot({ path: path.join(MEDIA, "holes.png") });
} finally {
  await browser.close();
  await server.stop();
}

/** Takes pictures while `body` runs and writes those that differ as an animation. */
async function record(workbench, file, body) {
  const frames = [];
  let running = true;
  const filming = (async () => {
    while (running && frames.length < MOST_FRAMES) {
      const picture = await workbench.page.screenshot();
      if (!frames.at(-1)?.picture.equals(picture)) frames.push({ picture, at: performance.now() });
    }
  })();
  await body();
  running = false;
  await filming;
  frames.push({ picture: await workbench.page.screenshot(), at: performance.now() });
  const encoder = GIFEncoder();
  for (const [index, { picture, at }] of frames.entries()) {
    const { data, width, height } = PNG.sync.read(picture);
    const palette = quantize(data, 64);
    const last = index === frames.length - 1;
    const shown = last ? LAST_MS : frames[index + 1].at - at;
    const delay = last ? shown : Math.min(Math.max(shown, SHORTEST_MS), LONGEST_MS);
    encoder.writeFrame(applyPalette(data, palette), width, height, { palette, delay });
  }
  encoder.finish();
  await writeFile(file, encoder.bytes());
}
