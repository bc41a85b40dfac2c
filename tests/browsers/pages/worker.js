/** A source in a worker: it is told how to make it, and says what it was given. */
import { createSource } from "/clarion.js";

addEventListener("message", ({ data: options }) => {
  const source = createSource(options);
  source.on("message", ({ data }) => postMessage({ number: parseInt(data, 10) }));
  source.onGap(() => postMessage({ number: null }));
  source.onError(({ code, cause }) => postMessage({ error: `${code}: ${cause}` }));
});
