// The settings of a render as the text that goes into its file. One JSON object, in the field that every player
// and tool shows as "comment".

/** Prompt, seed, model hash, all settings: anything JSON can say. */
export type VideoMetadata = Readonly<Record<string, unknown>>;

/**
 * The text to store. ASCII only: what is beyond it is written as \u escapes, because a GIF comment is ASCII by its
 * specification and no reader then needs to know an encoding.
 */
export function serializeMetadata(metadata: VideoMetadata): string {
  return JSON.stringify(metadata).replace(/[\u007f-\uffff]/g, (unit) => {
    return `\\u${unit.charCodeAt(0).toString(16).padStart(4, "0")}`;
  });
}

/** The object in a comment, or null when the comment is something else (a file that is not ours). */
export function parseMetadata(comment: string | null): VideoMetadata | null {
  if (!comment?.startsWith("{")) return null;
  try {
    return JSON.parse(comment) as VideoMetadata;
  } catch {
    return null;
  }
}
