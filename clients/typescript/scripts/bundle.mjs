// The client as one file, for pages without npm: `import { createSource } from "/clarion.js"`.
//
//   node scripts/bundle.mjs FILE           writes it
//   node scripts/bundle.mjs --check FILE   fails if the file is not what the source builds
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname } from "node:path";
import { build } from "esbuild";

const ENTRY = "src/page.ts";

const { name, version } = JSON.parse(readFileSync("package.json", "utf8"));
const isCheck = process.argv[2] === "--check";
const file = process.argv[isCheck ? 3 : 2] ?? "build/clarion.js";

const { outputFiles } = await build({
  entryPoints: [ENTRY],
  bundle: true,
  minify: true,
  write: false,
  format: "esm",
  target: "es2022",
  charset: "ascii",
  legalComments: "none",
  banner: { js: `/* ${name} ${version}, MIT licence */` },
});
const [{ text }] = outputFiles;
if (!isCheck) {
  mkdirSync(dirname(file), { recursive: true });
  writeFileSync(file, text);
  console.log(`${file}: ${Buffer.byteLength(text)} bytes`);
} else if (readFileSync(file, "utf8") !== text) {
  console.error(`${file} is not what the source builds: run "make bundle"`);
  process.exitCode = 1;
}
