/** The package as such: what it exports, and that importing it does nothing. */
import { existsSync, readFileSync } from "node:fs";
import { build } from "esbuild";
import { afterEach, describe, expect, it, vi } from "vitest";

const manifest = JSON.parse(readFileSync(new URL("../package.json", import.meta.url), "utf8"));
const subpaths = Object.entries<{ types: string; default: string }>(manifest.exports).filter(
  ([, conditions]) => conditions.default,
);
const sourceOf = (file: string) =>
  new URL(file.replace("./dist/", "../src/").replace(/\.js$/, ".ts"), import.meta.url).pathname;

/** What a place that is no browser may not have. */
const MISSING = ["fetch", "Headers", "AbortController", "document", "location", "sessionStorage", "addEventListener"];

afterEach(() => vi.unstubAllGlobals());

it("has no dependencies, and is ESM without side effects", () => {
  expect(manifest.dependencies).toBeUndefined();
  expect([manifest.type, manifest.sideEffects]).toEqual(["module", false]);
});

describe.each(subpaths)("%s", (_subpath, conditions) => {
  it("has its types first, and a source", () => {
    expect(Object.keys(conditions)).toEqual(["types", "default"]);
    expect(conditions.types).toBe(conditions.default.replace(/\.js$/, ".d.ts"));
    expect(existsSync(sourceOf(conditions.default))).toBe(true);
  });

  it("looks at nothing around it while it is imported", async () => {
    vi.resetModules();
    for (const name of MISSING) vi.stubGlobal(name, undefined);
    for (const name of ["setTimeout", "setInterval", "queueMicrotask"] as const) {
      vi.stubGlobal(name, () => expect.unreachable(`${name} was called`));
    }
    const imported = await import(sourceOf(conditions.default));
    expect(Object.keys(imported)).not.toEqual([]);
  });

  it("leaves nothing behind if nothing of it is used", async () => {
    const { outputFiles } = await build({
      stdin: { contents: `import ${JSON.stringify(sourceOf(conditions.default))};`, resolveDir: "." },
      bundle: true,
      write: false,
      minify: true,
      format: "esm",
      // The one is the page's own, the other is loaded when it is needed.
      external: [...Object.keys(manifest.peerDependencies), "./share.js"],
      // What package.json promises is to be true.
      ignoreAnnotations: true,
    });
    expect(outputFiles[0]?.text.replaceAll(/import(\{[^}]*\}from)?"react";/g, "").trim()).toBe("");
  });
});
