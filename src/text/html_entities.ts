// HTML character references to characters, as `html.unescape` of Python does it, for the names of HTML 4 (Latin-1,
// Greek, punctuation, arrows, common symbols) instead of all 2,231 of HTML 5. Unknown names stay as they are.

// The names for U+00A0 to U+00FF, in order.
const LATIN_1 =
  "nbsp iexcl cent pound curren yen brvbar sect uml copy ordf laquo not shy reg macr deg plusmn sup2 sup3 acute " +
  "micro para middot cedil sup1 ordm raquo frac14 frac12 frac34 iquest Agrave Aacute Acirc Atilde Auml Aring AElig " +
  "Ccedil Egrave Eacute Ecirc Euml Igrave Iacute Icirc Iuml ETH Ntilde Ograve Oacute Ocirc Otilde Ouml times Oslash " +
  "Ugrave Uacute Ucirc Uuml Yacute THORN szlig agrave aacute acirc atilde auml aring aelig ccedil egrave eacute " +
  "ecirc euml igrave iacute icirc iuml eth ntilde ograve oacute ocirc otilde ouml divide oslash ugrave uacute ucirc " +
  "uuml yacute thorn yuml";

// Name and character, name and character.
const OTHERS =
  'quot " amp & lt < gt > apos \' QUOT " AMP & LT < GT > OElig Œ oelig œ Scaron Š scaron š Yuml Ÿ fnof ƒ ' +
  "circ ˆ tilde ˜ ensp \u2002 emsp \u2003 thinsp \u2009 zwnj \u200c zwj \u200d ndash – mdash — lsquo ‘ " +
  "rsquo ’ sbquo ‚ ldquo “ rdquo ” bdquo „ dagger † Dagger ‡ bull • hellip … permil ‰ prime ′ Prime ″ " +
  "lsaquo ‹ rsaquo › oline ‾ frasl ⁄ euro € trade ™ larr ← uarr ↑ rarr → darr ↓ harr ↔ minus − lowast ∗ " +
  "radic √ infin ∞ cap ∩ int ∫ asymp ≈ ne ≠ equiv ≡ le ≤ ge ≥ sum ∑ part ∂ nabla ∇ loz ◊ spades ♠ " +
  "clubs ♣ hearts ♥ diams ♦ Alpha Α Beta Β Gamma Γ Delta Δ Theta Θ Lambda Λ Pi Π Sigma Σ Phi Φ Psi Ψ " +
  "Omega Ω alpha α beta β gamma γ delta δ epsilon ε zeta ζ eta η theta θ iota ι kappa κ lambda λ mu μ " +
  "nu ν xi ξ pi π rho ρ sigma σ tau τ upsilon υ phi φ chi χ psi ψ omega ω";

const latin1Names = LATIN_1.split(" ");

const entities: ReadonlyMap<string, string> = new Map([
  ...Array.from(OTHERS.matchAll(/(\w+) (\S|\s)(?: |$)/gu), ([, name = "", c = ""]) => [name, c] as const),
  ...latin1Names.map((name, i) => [name, String.fromCharCode(0xa0 + i)] as const),
]);

/** Names that HTML also accepts without the semicolon. */
const withoutSemicolon: readonly string[] = [
  "quot",
  "amp",
  "lt",
  "gt",
  "QUOT",
  "AMP",
  "LT",
  "GT",
  ...latin1Names,
];

/** The characters of Windows-1252 bytes 0x80 to 0x9f; HTML reads `&#146;` as such a byte. */
export const WINDOWS_1252_C1 = "€\u0081‚ƒ„…†‡ˆ‰Š‹Œ\u008dŽ\u008f\u0090‘’“”•–—˜™š›œ\u009džŸ";

/** Replaces `&name;`, `&#38;` and `&#x26;`, once. */
export function unescapeHtml(text: string): string {
  if (!text.includes("&")) return text;
  return text.replace(/&(#[0-9]+;?|#[xX][0-9a-fA-F]+;?|[A-Za-z][A-Za-z0-9]*;?)/g, (whole, body: string) =>
    body.startsWith("#") ? numericReference(body) : (namedReference(body) ?? whole),
  );
}

function namedReference(body: string): string | undefined {
  if (body.endsWith(";")) {
    const character = entities.get(body.slice(0, -1));
    if (character !== undefined) return character;
  }
  // The longest known name that starts the body, as browsers do: "&ltfoo" is "<foo".
  let longest = "";
  for (const name of withoutSemicolon) {
    if (name.length > longest.length && body.startsWith(name)) longest = name;
  }
  return longest === "" ? undefined : (entities.get(longest) ?? "") + body.slice(longest.length);
}

function numericReference(body: string): string {
  const digits = body.replace(/;$/, "").slice(1);
  const code = /^[xX]/.test(digits) ? Number.parseInt(digits.slice(1), 16) : Number.parseInt(digits, 10);
  if (code >= 0x80 && code <= 0x9f) return WINDOWS_1252_C1[code - 0x80] ?? "\ufffd";
  if (code === 0x0d) return "\r";
  if (code === 0 || code > 0x10ffff || (code >= 0xd800 && code <= 0xdfff)) return "\ufffd";
  const isControl = code < 0x09 || code === 0x0b || (code >= 0x0e && code < 0x20) || code === 0x7f;
  const isNonCharacter = (code >= 0xfdd0 && code <= 0xfdef) || (code & 0xfffe) === 0xfffe;
  return isControl || isNonCharacter ? "" : String.fromCodePoint(code);
}
