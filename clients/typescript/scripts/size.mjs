// What a page pays for each part: minified and gzipped, without the parts that it imports, and on top of the core. Fails
// over budget.
//
//   node scripts/size.mjs [FOLDER]    what `npm run build` made; `dist` by default
import { readFileSync } from "node:fs";
import { resolve } from "node:path";
import { gzipSync } from "node:zlib";
import { build } from "esbuild";

const KIB = 1024;
const BUDGETS = {
  ".": 3.0,
  "./parser": 0.7,
  "./values": 0.6,
  "./options": 0.46,
  "./share": 1.6,
  "./react": 1.0,
  "./react/sse": 0.65,
  "./react/progress": 0.25,
  "./tasks": 0.6,
  "./element": 1.7,
};

const folder = process.argv[2] ?? "dist";
const { exports, peerDependencies = {} } = JSON.parse(readFileSync("package.json", "utf8"));
const files = new Map(
  Object.entries(exports)
    .filter(([, conditions]) => conditions.default)
    .map(([subpath, conditions]) => [subpath, resolve(conditions.default.replace(/^\.\/dist/, folder))]),
);

/** These are loaded by themselves, or are there in any case, and are not counted again. */
const apart = (entry, others) => ({
  name: "apart",
  setup({ onResolve }) {
    onResolve({ filter: /^\./ }, ({ path, resolveDir, kind }) => {
      const file = resolve(resolveDir, path);
      const isApart = kind !== "entry-point" && file !== entry && others.has(file);
      return isApart ? { path, external: true } : undefined;
    });
  },
});

/** Bundles a part: its bytes, and the files that they are made of. */
async function bundled(entry, others) {
  const { outputFiles, metafile } = await build({
    entryPoints: [entry],
    bundle: true,
    minify: true,
    write: false,
    metafile: true,
    format: "esm",
    target: "es2022",
    external: Object.keys(peerDependencies),
    plugins: [apart(entry, others)],
  });
  const bytes = gzipSync(outputFiles[0].contents, { level: 9 }).length;
  return { bytes, inputs: Object.keys(metafile.inputs).map((file) => resolve(file)) };
}

const parts = new Set(files.values());
// A page that imports `createSource` does not get the rest of what "." exports.
const core = await bundled(resolve(folder, "source.js"), parts);
let isOver = false;
for (const [subpath, budget] of Object.entries(BUDGETS)) {
  const entry = files.get(subpath);
  if (!entry) continue;
  const { bytes } = subpath === "." ? core : await bundled(entry, new Set([...parts, ...core.inputs]));
  const limit = Math.floor(budget * KIB);
  console.log(`${subpath.padEnd(18)} ${String(bytes).padStart(5)} of ${limit} bytes`);
  isOver ||= bytes > limit;
}
if (isOver) {
  console.error("a part is over its budget");
  process.exitCode = 1;
}
