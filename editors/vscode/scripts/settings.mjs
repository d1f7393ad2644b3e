// Writes the server's settings into package.json, from docs/settings.schema.json, which the server prints.
// With --check it only compares; exit code 1 where they differ.

import { readFileSync, writeFileSync } from "node:fs";

const manifestFile = new URL("../package.json", import.meta.url);
const schemaFile = new URL("../../../docs/settings.schema.json", import.meta.url);
const OF_THE_SERVER = "Server";

/** In an untrusted workspace these would let its author choose what is loaded. */
const RESTRICTED = ["infill.path", "infill.model", "infill.log_level"];

/** The settings editor has no field for a text that may be null: there the empty text says so. */
function offered(schema) {
  if (!Array.isArray(schema.type) || !schema.type.includes("string")) return schema;
  const { minLength, ...rest } = schema;
  return { ...rest, type: "string", default: schema.default ?? "" };
}

const before = readFileSync(manifestFile, "utf8");
const manifest = JSON.parse(before);
const { properties } = JSON.parse(readFileSync(schemaFile, "utf8"));

const section = manifest.contributes.configuration.find(({ title }) => title === OF_THE_SERVER);
section.properties = Object.fromEntries(
  Object.entries(properties).map(([name, { description, ...rest }], order) => [
    `infill.${name}`,
    {
      ...offered(rest),
      order,
      scope: "window",
      markdownDescription: `${description[0].toUpperCase()}${description.slice(1)}.`,
    },
  ]),
);
manifest.capabilities.untrustedWorkspaces.restrictedConfigurations = RESTRICTED;

const after = `${JSON.stringify(manifest, null, 2)}\n`;
if (process.argv.includes("--check")) {
  if (after !== before) {
    console.error("package.json differs from docs/settings.schema.json: run `npm run settings`");
    process.exit(1);
  }
} else {
  writeFileSync(manifestFile, after);
}
