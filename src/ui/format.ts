// Numbers and names as people read them. Pure.

/** "812 B", "17.6 MB", "1.2 GB": decimal units, as download managers and disks use. */
export function formatBytes(bytes: number): string {
  const units = ["B", "kB", "MB", "GB", "TB"] as const;
  let value = bytes;
  let unit = 0;
  while (value >= 999.5 && unit < units.length - 1) {
    value /= 1000;
    unit++;
  }
  const digits = unit === 0 || value >= 99.5 ? 0 : 1;
  return `${value.toFixed(digits)} ${units[unit] ?? "B"}`;
}

/** "1 GiB", "128 MiB": for memory and limits. */
export function formatMemory(bytes: number): string {
  const gibibytes = bytes / 2 ** 30;
  if (gibibytes >= 1) return `${Number(gibibytes.toFixed(1))} GiB`;
  return `${Math.round(bytes / 2 ** 20)} MiB`;
}

/** "0.8 s", "42 s", "1 min 20 s", "1 h 5 min". */
export function formatSeconds(seconds: number): string {
  if (seconds < 9.95) return `${seconds.toFixed(1)} s`;
  const whole = Math.round(seconds);
  if (whole < 60) return `${whole} s`;
  if (whole < 3600) return joined([Math.floor(whole / 60), "min"], [whole % 60, "s"]);
  return joined([Math.floor(whole / 3600), "h"], [Math.floor((whole % 3600) / 60), "min"]);
}

/** "about 40 s left": rounded more coarsely the longer it is, so that it does not flicker. */
export function formatTimeLeft(seconds: number): string {
  if (seconds < 5) return "a few seconds left";
  const grain = seconds < 120 ? 5 : seconds < 600 ? 30 : 60;
  const rounded = Math.ceil(seconds / grain) * grain;
  return rounded < 10 ? "about 5 s left" : `about ${formatSeconds(rounded)} left`;
}

/** "a-large-shiny-red-ball-bounces-on-grass-1234.mp4". */
export function videoFileName(prompt: string, seed: number, extension: string): string {
  const words = prompt
    .toLowerCase()
    .normalize("NFKD")
    .replace(/[^\p{L}\p{N}]+/gu, "-")
    .replace(/^-+|-+$/g, "")
    .slice(0, 60)
    .replace(/-+$/, "");
  return `${words === "" ? "video" : words}-${seed}.${extension}`;
}

function joined(...parts: readonly (readonly [number, string])[]): string {
  return parts
    .filter(([value], index) => value > 0 || index === 0)
    .map(([value, unit]) => `${value} ${unit}`)
    .join(" ");
}
