// Errors and notices below the Generate button.
import { byId, element } from "./dom.ts";

/** The list of messages. */
export interface Messages {
  clear(): void;
  /** Something to know although the render goes on. Said once each. */
  notice(message: string): void;
  /** Why there is no video. */
  error(message: string): void;
}

/** Binds the list in index.html. */
export function createMessages(): Messages {
  const list = byId("messages", HTMLDivElement);
  const add = (className: string, text: string): void => {
    if ([...list.children].some(({ textContent }) => textContent === text)) return;
    list.append(element("p", { className, textContent: text }));
  };
  return {
    clear: () => list.replaceChildren(),
    notice: (message) => add("message", message),
    error(message) {
      add("message error", message);
      list.lastElementChild?.scrollIntoView({ block: "nearest" });
    },
  };
}
