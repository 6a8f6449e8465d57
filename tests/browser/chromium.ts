// The Chromium that tests drive is the one of `weft render --host chromium`.
export { launchChromium } from "../../src/cli/chromium_node.ts";
