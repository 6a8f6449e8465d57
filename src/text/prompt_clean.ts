// diffusers' `prompt_clean` (pipelines/wan/pipeline_wan.py): ftfy.fix_text, html.unescape twice, white space
// collapsed. ftfy is rebuilt only as far as prompts need it: its guesses about mixed encodings are reduced to
// UTF-8 that was read as Windows-1252 with the lead characters of Western text, punctuation, kana and emoji.
import { unescapeHtml, WINDOWS_1252_C1 } from "./html_entities.ts";

/** The text the tokenizer is given: mended, unescaped, single spaces, trimmed. */
export function cleanPrompt(prompt: string): string {
  return unescapeHtml(unescapeHtml(fixText(prompt)))
    .trim()
    .replace(/\s+/g, " ")
    .trim();
}

/** The steps of ftfy.fix_text (ftfy 6.3, default options) in its order, line by line as ftfy does. */
function fixText(text: string): string {
  return text.split("\n").map(fixLine).join("\n");
}

function fixLine(line: string): string {
  // ftfy takes a "<" as a sign of real HTML, whose references it leaves alone.
  let text = line.includes("<") ? line : unescapeHtml(line);
  text = fixMojibake(fixMojibake(text));
  text = text.replace(/[\u0080-\u009f]/g, (c) => WINDOWS_1252_C1[c.charCodeAt(0) - 0x80] ?? c);
  text = text.replace(/[\u0132\u0133\u0149\u01f1-\u01f3\u01c4-\u01cc\ufb00-\ufb06]/g, (c) =>
    c.normalize("NFKC"),
  );
  text = text.replace(/[\u3000\uff01-\uffef]/g, (c) => c.normalize("NFKC"));
  text = text.replace(/[\u02bc\u2018-\u201b]/g, "'").replace(/[\u201c-\u201f]/g, '"');
  text = text.replace(/\r\n?|[\u0085\u2028\u2029]/g, "\n");
  text = text.replace(/\p{Surrogate}/gu, "\ufffd");
  text = text.replace(TERMINAL_ESCAPE, "").replace(CONTROL_CHARACTERS, "");
  return text.normalize("NFC");
}

// Terminal colours and cursor movements, as ftfy's ANSI_RE.
// oxlint-disable-next-line no-control-regex
const TERMINAL_ESCAPE = /\u001b\[[^@-~]*[@-~]/g;

// Controls without a meaning in text; tab, line feed, form feed and carriage return stay.
// oxlint-disable-next-line no-control-regex
const CONTROL_CHARACTERS = /[\u0000-\u0008\u000b\u000e-\u001f\u007f\u206a-\u206f\ufeff\ufff9-\ufffc]/g;

// What a UTF-8 continuation byte, 0x80 to 0xbf, looks like when read as Windows-1252.
const CONTINUATION = `[${WINDOWS_1252_C1}\u0080-\u009f\u00a0-\u00bf]`;

// Two-byte sequences led by 0xc2 and 0xc3 (accented letters), three-byte ones by 0xe2, 0xe3 and 0xef (punctuation,
// kana, full width) and four-byte ones by 0xf0 0x9f (emoji). Other leads are letters that real text uses.
const MOJIBAKE = new RegExp(
  `[ÂÃ]${CONTINUATION}|[âãï]${CONTINUATION}${CONTINUATION}|ð[Ÿ\u009f]${CONTINUATION}${CONTINUATION}`,
  "g",
);

function fixMojibake(text: string): string {
  return text.replace(MOJIBAKE, (sequence) => decodeUtf8(sequence) ?? sequence);
}

function decodeUtf8(sequence: string): string | undefined {
  const bytes = Uint8Array.from(sequence, (c) => {
    const c1 = WINDOWS_1252_C1.indexOf(c);
    return c1 >= 0 ? 0x80 + c1 : c.charCodeAt(0);
  });
  try {
    return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch {
    return undefined;
  }
}
