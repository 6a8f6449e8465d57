// Light, dark, or as the system says. index.html applies the stored choice before the first paint.

const THEMES = ["system", "light", "dark"] as const;
const NAMES = { system: "as the system", light: "light", dark: "dark" } as const;
const STORAGE_KEY = "weft-theme";

/** Makes the button go round the themes. */
export function setUpTheme(button: HTMLButtonElement): void {
  const root = document.documentElement;
  const current = (): (typeof THEMES)[number] =>
    THEMES.find((theme) => theme === root.dataset["theme"]) ?? "system";
  const show = (): void => {
    const label = `Theme: ${NAMES[current()]}`;
    button.ariaLabel = label;
    button.title = label;
  };
  button.addEventListener("click", () => {
    const next = THEMES[(THEMES.indexOf(current()) + 1) % THEMES.length] ?? "system";
    root.dataset["theme"] = next;
    try {
      localStorage.setItem(STORAGE_KEY, next);
    } catch {
      // Storage is switched off: the choice lasts as long as the page.
    }
    show();
  });
  show();
}
