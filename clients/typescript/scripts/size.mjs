// What a page pays for each part: minified and gzipped, without the parts that it imports. Fails over budget.
import { readFileSync } from "node:fs";
import { resolve } from "node:path";
import { gzipSync } from "node:zlib";
import { build } from "esbuild";

const KIB = 1024;
const BUDGETS = { ".": 3.0, "./parser": 0.7, "./values": 0.6, "./share": 1.0, "./react": 1.0 };

const { exports, peerDependencies = {} } = JSON.parse(readFileSync("package.json", "utf8"));
const files = new Map(
  Object.entries(exports)
    .filter(([, conditions]) => conditions.default)
    .map(([subpath, conditions]) => [subpath, resolve(conditions.default)]),
);

/** Other parts have budgets of their own. */
const otherParts = (entry) => ({
  name: "other-parts",
  setup({ onResolve }) {
    onResolve({ filter: /^\./ }, ({ path, resolveDir, kind }) => {
      const file = resolve(resolveDir, path);
      const isOther = kind !== "entry-point" && file !== entry && [...files.values()].includes(file);
      return isOther ? { path, external: true } : undefined;
    });
  },
});

let isOver = false;
for (const [subpath, budget] of Object.entries(BUDGETS)) {
  const entry = files.get(subpath);
  if (!entry) continue;
  const { outputFiles } = await build({
    entryPoints: [entry],
    bundle: true,
    minify: true,
    write: false,
    format: "esm",
    target: "es2022",
    external: Object.keys(peerDependencies),
    plugins: [otherParts(entry)],
  });
  const bytes = gzipSync(outputFiles[0].contents, { level: 9 }).length;
  const limit = Math.floor(budget * KIB);
  console.log(`${subpath.padEnd(10)} ${String(bytes).padStart(5)} of ${limit} bytes`);
  isOver ||= bytes > limit;
}
if (isOver) {
  console.error("a part is over its budget");
  process.exitCode = 1;
}
