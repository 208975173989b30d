// The words, quoted names, comments and brackets of a pasted list of addresses, and what stands between its entries.
// shared/address_tokens.py is the server's half of this; addresses.js makes entries of them.
"use strict";

const AddressTokens = (() => {
  const UNSEEN = /[\u00ad\u200b\u200e\u200f\u202a-\u202e\u2060-\u2069\ufeff\0]/g;
  const LINES = /\r\n?|[\u0085\u2028\u2029\v\f]/g;
  const WIDE = { "＜": "<", "＞": ">", "＠": "@", "，": ",", "；": ";", "、": "," };
  const SPACE = " \u00a0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u202f\u205f\u3000";
  const CLOSERS = { '"': '"', "“": "”“", "„": "“”", "”": "”", "«": "»", "»": "«", "'": "'", "‘": "’", "‚": "‘" };
  const SINGLE = "'‘‚"; // also apostrophes: they quote only what a whole name is
  const WORD_ENDS = new Set(`,;\n\t"<>(${SPACE}`);
  const BRACKETED = /\[(?:mailto:)?([^[\]\s<>@,;]{1,256}@[^[\]\s<>,;]{1,256})\]/iy;
  const IN_BRACKETS = /<([^<>\n]*)>/y;
  const LINK = /mailto:[^\s<>";,?]*(?:\?[^\s<>";]*)?/iy; // RFC 6068; commas may be in its questions

  const clean = (text) => text.replace(/[＜＞＠，；、]/g, (wide) => WIDE[wide]).replace(UNSEEN, "").replace(LINES, "\n");
  const isSpace = (sign) => sign !== undefined && SPACE.includes(sign);
  const at = (pattern, text, place) => { pattern.lastIndex = place; return pattern.exec(text); };

  function scan(text) {
    const tokens = [];
    const hopeless = {}; // sign → up to where it is known to have no partner
    let here = 0;
    let fresh = true; // nothing of the entry has come yet

    function add(kind, content, end) {
      tokens.push({ kind, text: content, start: here, end });
      here = end;
      fresh = false;
    }

    // a line that begins with a bracket goes on with the one before
    function lineEnd() {
      let end = here;
      while (end < text.length && ("\n\t".includes(text[end]) || isSpace(text[end]))) end += 1;
      if (!fresh && ["<", "("].includes(text[end]) && ["word", "quoted"].includes(tokens.at(-1).kind)) {
        here = end;
        return;
      }
      add("end", "\n", end);
      fresh = true;
    }

    // whether nothing of a name can come at this place: an apostrophe is no end
    function endsName(place) {
      if (isSpace(text[place])) return ["<", "(", "[", undefined, "\n", ",", ";"].includes(text[place + 1]);
      return ["<", undefined, "\n", "\t", ",", ";", ">"].includes(text[place]);
    }

    function closing(sign) {
      const single = SINGLE.includes(sign);
      let place = here + 1;
      for (; place < text.length; place += 1) {
        const one = text[place];
        if (one === "\\" && sign === '"') place += 1;
        else if (CLOSERS[sign].includes(one) && (!single || endsName(place + 1))) return place;
        else if ((one === "\n" && ![" ", "\t"].includes(text[place + 1])) || (single && "<>;\n".includes(one))) break;
      }
      hopeless[sign] = place;
      return -1;
    }

    function quotedName(sign) {
      if (here < (hopeless[sign] ?? 0)) return false;
      const end = closing(sign);
      if (end < 0) return false;
      let content = text.slice(here + 1, end);
      if (sign === '"') {
        if (text[end + 1] === "@") { // a local part in quotes (RFC 5321, section 4.1.2)
          const start = here;
          here = end + 1;
          word(start);
          return true;
        }
        content = content.replace(/\\(.)/g, "$1");
      }
      add("quoted", content, end + 1);
      return true;
    }

    function comment() {
      if (here < (hopeless["("] ?? 0)) return false;
      let depth = 0;
      let place = here;
      for (; place < text.length && text[place] !== "\n"; place += 1) {
        const one = text[place];
        if (one === "\\") place += 1;
        else if (one === "(") depth += 1;
        else if (one === ")") {
          depth -= 1;
          if (!depth) {
            add("comment", text.slice(here + 1, place).replace(/\\(.)/g, "$1"), place + 1);
            return true;
          }
        }
      }
      hopeless["("] = place;
      return false;
    }

    // what stands in quotes or brackets, if its other end comes on the same line
    function whole(sign) {
      if (sign === "(") return comment();
      if (CLOSERS[sign] && (!SINGLE.includes(sign) || fresh)) return quotedName(sign);
      const found = sign === "<" ? at(IN_BRACKETS, text, here) : sign === "[" ? at(BRACKETED, text, here) : null;
      if (found) add("bracket", found[1], here + found[0].length);
      else if (sign === "<") here += 1;
      return Boolean(found) || sign === "<";
    }

    function word(start = here) {
      const link = at(LINK, text, start);
      if (link) return add("word", link[0], start + link[0].length);
      let end = Math.max(here, start + 1);
      let named = false;
      for (; end < text.length && !WORD_ENDS.has(text[end]); end += 1) {
        named ||= text[end] === "@";
        if (text[end] === ":" && !named) break; // the name of a group (RFC 5322, section 3.4), or of a header
      }
      here = start;
      add("word", text.slice(start, end), end);
      if (text[end] === ":" && !named) add("label", ":", end + 1);
      return undefined;
    }

    while (here < text.length) {
      const sign = text[here];
      if (sign === "\n") lineEnd();
      else if (sign === "," || sign === ";") {
        add(sign === "," ? "comma" : "end", sign, here + 1);
        fresh = true;
      } else if (sign === "\t") add("tab", sign, here + 1);
      else if (isSpace(sign) || sign === ">") here += 1;
      else if (!whole(sign)) word();
    }
    return tokens;
  }

  return { SPACE, clean, scan };
})();
