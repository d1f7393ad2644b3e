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
const SIZE = { width: 860, height: 340 };
const COLORS = 63; // and one that is transparent, for what a frame leaves as it was
const SHORTEST_MS = 40;
const LONGEST_MS = 500; // a slow machine's waits are not the point of the recording
const LAST_MS = 2000;
const MOST_FRAMES = 90;

const BOX = `class Box:
    def __init__(self, width, height):
        self.width = width
        self.height = height

    def area(self):
        """Width times height."""
        return 

    def edges(self):
        return 2 * (self.width + self.height)
`;

const HOLES = `class Account:
    def __init__(self, owner, balance):
        self.owner = ___
        self.balance = balance

    def deposit(self, amount):
        self.balance += amount

    def withdraw(self, amount):
        self.balance -= ___
`;

const server = await startCodeServer({
  files: { "box.py": BOX, "holes.py": HOLES },
  settings: {
    "infill.canvas": true,
    "workbench.activityBar.location": "hidden",
    "workbench.sideBar.location": "right",
    "window.commandCenter": false,
    "breadcrumbs.enabled": false,
    "editor.fontSize": 15,
    "editor.stickyScroll.enabled": false,
  },
});
const browser = await launch();
try {
  await mkdir(MEDIA, { recursive: true });
  const workbench = await Workbench.open(browser, server, "box.py", SIZE);
  await workbench.state("ready");
  await workbench.run("View: Close Primary Side Bar");
  await workbench.goTo(...workbench.endOf(BOX, 'height."""\n        return '));
  await record(workbench, path.join(MEDIA, "typing.gif"), async () => {
    await workbench.page.keyboard.type("self", { delay: 150 });
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
  await record(holes, path.join(MEDIA, "holes.gif"), async () => {
    await holes.run("Infill: Preview All Holes Filled");
    await holes.page.getByText(/Infill previews/).first().waitFor({ timeout: 120_000 });
    await holes.page.screenshot({ path: path.join(MEDIA, "holes.png") });
    await holes.press("Tab");
    await holes.saved((text) => !text.includes("___"));
  });
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
  const images = frames.map(({ picture }) => PNG.sync.read(picture));
  const palette = quantize(images.at(-1).data, COLORS);
  let before;
  for (const [index, { data, width, height }] of images.entries()) {
    const last = index === frames.length - 1;
    const shown = last ? LAST_MS : frames[index + 1].at - frames[index].at;
    const delay = last ? shown : Math.min(Math.max(shown, SHORTEST_MS), LONGEST_MS);
    const now = applyPalette(data, palette);
    const changed = before === undefined ? now : now.map((color, at) => (color === before[at] ? COLORS : color));
    const first = before === undefined ? { palette: [...palette, [0, 0, 0]] } : {};
    // Kept under what follows: a transparent frame is cleared away by default.
    const over = { transparent: !!before, transparentIndex: COLORS, dispose: 1 };
    encoder.writeFrame(changed, width, height, { ...first, delay, ...over });
    before = now;
  }
  encoder.finish();
  await writeFile(file, encoder.bytes());
}
