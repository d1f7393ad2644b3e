import { startCodeServer } from "./code_server.mjs";
import { launch, Workbench } from "./workbench.mjs";
import { readFile } from "node:fs/promises";
import { execSync } from "node:child_process"; 
const server = await startCodeServer({ files: { "a.py": await readFile("/tmp/vs_t.py", "utf8") } });
const browser = await launch();
let w;
try {
  w = await Workbench.open(browser, server, "a.py");
  await w.goTo(4, 19); await new Promise(r => setTimeout(r, 6000));
 console.log(execSync(`find ${server.data}/logs ${server.home}/.local -type f`).toString());
 await w.run("Infill: Why Is There No Suggestion?");
 await new Promise(r => setTimeout(r, 1000));
 await w.run("Infill: Menu…");
 await new Promise(r => setTimeout(r, 1000));
} catch (e) { console.log(e); }
finally { await w?.page.screenshot({ path: "/tmp/vs2.png" }); await browser.close();
 await server.stop(); }
