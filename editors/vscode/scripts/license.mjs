// The .vsix carries the repository's licence; there is one copy of it in the repository.

import { copyFileSync } from "node:fs";

copyFileSync(new URL("../../../LICENSE", import.meta.url), new URL("../LICENSE", import.meta.url));
