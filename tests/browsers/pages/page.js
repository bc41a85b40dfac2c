/** What the tests call in a page: everything here is in `tests`, and all of the client is below it. */
import * as eventsources from "./eventsources.js";
import * as readers from "./readers.js";
import * as vectors from "./vectors.js";

globalThis.tests = { ...readers, ...eventsources, ...vectors };
