import { defineConfig } from "vitest/config";

export default defineConfig({
  test: {
    include: ["test/**/*.test.ts"],
    // Nothing here waits for time to pass; this is for what hangs.
    testTimeout: 20_000,
    pool: "threads",
    maxWorkers: 2,
  },
});
