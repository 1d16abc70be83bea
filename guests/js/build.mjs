// node build.mjs WIT OUT: makes guest.js a component.
import { writeFile } from "node:fs/promises";
import { componentize } from "@bytecodealliance/componentize-js";

const [witPath, out] = process.argv.slice(2);
const { component } = await componentize({
  sourcePath: "guest.js",
  witPath,
  worldName: "guest",
  // The guest calls wasi:http itself; the engine's fetch is made for one older version of it.
  disableFeatures: ["http", "fetch-event"],
});
await writeFile(out, component);
