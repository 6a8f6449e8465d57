// Other tabs that make a video just now, and the way to help them.
import type { PresentTab } from "../parallel/presence.ts";
import { byId, element } from "./dom.ts";

/** Shows them; none while this tab makes one itself. */
export function showOtherTabs(tabs: readonly PresentTab[]): void {
  const messages = tabs.flatMap(({ tab, job }) => {
    if (job === undefined) return [];
    const help = element("button", { type: "button", className: "link", textContent: "Help with it" });
    help.addEventListener("click", () => {
      location.hash = `#help=${tab}`;
      location.reload();
    });
    const { prompt, step, numSteps } = job;
    const text = `Another tab makes “${prompt}”, ${step} of ${numSteps} steps done. `;
    return [element("p", { className: "message" }, text, help)];
  });
  byId("other-tabs", HTMLDivElement).replaceChildren(...messages);
}
