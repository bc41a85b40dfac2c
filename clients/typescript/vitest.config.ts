import { fileURLToPath } from "node:url";
import { defineConfig } from "vitest/config";

/** Where a test's React is taken from, if it is not the one that is installed here. */
const react18 = (name: string) => fileURLToPath(new URL(`test/react18/node_modules/${name}`, import.meta.url));

const REACT_TESTS = ["test/react*.test.tsx"];

export default defineConfig({
  test: {
    // Nothing here waits for time to pass; this is for what hangs.
    testTimeout: 20_000,
    pool: "threads",
    maxWorkers: 2,
    projects: [
      { extends: true, test: { name: "client", include: ["test/**/*.test.ts"] } },
      { extends: true, test: { name: "react 19", include: REACT_TESTS, provide: { react: "19." } } },
      {
        extends: true,
        resolve: { alias: { react: react18("react"), "react-dom": react18("react-dom") } },
        test: { name: "react 18", include: REACT_TESTS, provide: { react: "18.3." } },
      },
    ],
  },
});
