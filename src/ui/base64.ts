// Bytes as text and back, for what has to travel as JSON.

/** Bytes to base64, by the browser itself. */
export async function toBase64(bytes: Uint8Array): Promise<string> {
  const reader = new FileReader();
  const loaded = new Promise<void>((resolve) =>
    reader.addEventListener("load", () => resolve(), { once: true }),
  );
  // The bytes came from the worker, so no shared memory is behind them.
  reader.readAsDataURL(new Blob([bytes as Uint8Array<ArrayBuffer>]));
  await loaded;
  const dataUrl = typeof reader.result === "string" ? reader.result : "";
  return dataUrl.slice(dataUrl.indexOf(",") + 1);
}

/** Base64 to bytes. */
export function fromBase64(text: string): Uint8Array<ArrayBuffer> {
  return Uint8Array.from(atob(text), (character) => character.charCodeAt(0));
}
