// Lists of addresses as people paste them: RFC 5322, section 3.4, and what mail programs and spreadsheets really write.
// shared/address_tokens.py and shared/address_lists.py do the same on the server, in the same order;
// tests/address_lists.json holds the cases that both pass. Takes time by the length of the text, no more.
"use strict";

const Addresses = (() => {
  const { SPACE, clean, scan } = AddressTokens;
  const LIKE_AN_ADDRESS = /^[^\s@<>(),;]+@[^\s@<>(),;]+$/;
  const NO_WORD = /^[^\p{L}\p{N}_@]+$/u;
  const BETWEEN = " -–—|/:="; // between a name and its address
  const ATOMS = /^[A-Za-z0-9!#$%&'*+/=?^_`{|}~ -]+$/;

  const words = (text) => text.split(/\s+/).filter(Boolean).join(" ");

  function strip(text, signs, ends = "both") {
    let from = 0;
    let to = text.length;
    while (ends === "both" && from < to && signs.includes(text[from])) from += 1;
    while (to > from && signs.includes(text[to - 1])) to -= 1;
    return text.slice(from, to);
  }

  // ---- encoded words (RFC 2047)

  function textOf(bytes, charset) {
    let decoder = null;
    try { decoder = new TextDecoder(charset.split("*")[0]); } catch { /* nobody knows it */ }
    if (decoder && !["utf-8", "windows-1252"].includes(decoder.encoding)) return decoder.decode(bytes);
    const text = new TextDecoder().decode(bytes);
    const bad = text.split("\ufffd").length - 1;
    const good = [...text].filter((sign) => sign > "\x7f").length - bad;
    const western = decoder?.encoding === "windows-1252" || bad > good;
    return bad && western ? new TextDecoder("windows-1252").decode(bytes) : text;
  }

  function bytesOf(way, content) {
    if (way.toLowerCase() === "q") {
      const plain = new TextEncoder().encode(content.replaceAll("_", " "));
      const latin = Array.from(plain, (code) => String.fromCharCode(code)).join("").replace(/=([0-9A-Fa-f]{2})/g, (_, code) => String.fromCharCode(parseInt(code, 16)));
      return Uint8Array.from(latin, (sign) => sign.charCodeAt(0));
    }
    const good = content.replace(/[^A-Za-z0-9+/]/g, "");
    return Uint8Array.from(atob(good.length % 4 === 1 ? good.slice(0, -1) : good), (sign) => sign.charCodeAt(0));
  }

  function decodeWords(text) {
    if (!text.includes("=?")) return text;
    const parts = []; // [character set, bytes] of a word, [null, text] of what is none
    let end = 0;
    for (const found of text.matchAll(/=\?([^?\s]{1,60})\?([BbQq])\?([^?\r\n]*)\?=/g)) {
      const bytes = bytesOf(found[2], found[3]);
      const between = text.slice(end, found.index);
      // white space between two encoded words is none (RFC 2047, section 6.2)
      if (between && !(end && !between.trim())) parts.push([null, between]);
      const charset = found[1].toLowerCase();
      // a character may begin in one word and end in the next
      if (parts.at(-1)?.[0] === charset) for (const one of bytes) parts.at(-1)[1].push(one);
      else parts.push([charset, [...bytes]]);
      end = found.index + found[0].length;
    }
    parts.push([null, text.slice(end)]);
    return parts.map(([charset, content]) => (charset === null ? content : textOf(Uint8Array.from(content), charset))).join("");
  }

  // ---- entries

  function unquote(text) {
    const bytes = [...new TextEncoder().encode(text)];
    const read = [];
    for (let place = 0; place < bytes.length; place += 1) {
      const code = bytes[place] === 37 ? String.fromCharCode(...bytes.slice(place + 1, place + 3)) : "";
      if (/^[0-9A-Fa-f]{2}$/.test(code)) {
        read.push(parseInt(code, 16));
        place += 2;
      } else read.push(bytes[place]);
    }
    return new TextDecoder().decode(Uint8Array.from(read));
  }

  // an address without what stands around it: quotes, a full stop, mailto:, a source route
  function bare(given) {
    let text = strip(given, `${SPACE}\t\n'‘’“”`);
    const sign = text.indexOf("@");
    const question = sign < 0 ? -1 : text.indexOf("?", sign);
    if (question >= 0) text = text.slice(0, question); // of a link
    if (text.slice(0, 7).toLowerCase() === "mailto:") text = unquote(text.slice(7));
    if (text.startsWith("@") && text.includes(":")) text = text.slice(text.indexOf(":") + 1); // RFC 5322, section 4.4
    if (!text.includes('"')) text = text.replace(/\s+/g, "");
    else if (text.startsWith('"') && text.endsWith('"') && text.length > 2) text = text.slice(1, -1);
    return strip(text, ".,;:!?", "end");
  }

  function isAddress(token) {
    const text = bare(token.text);
    if (token.kind === "word") return text.slice(1, -1).includes("@") && (text.startsWith('"') || LIKE_AN_ADDRESS.test(text));
    return token.kind === "quoted" && LIKE_AN_ADDRESS.test(text);
  }

  function nameOf(item) {
    if (item.length === 1 && item[0].kind === "comment") return item[0].text;
    return item.filter((it) => it.kind !== "tab").map((it) => (it.kind === "comment" ? `(${it.text})` : it.text)).join(" ");
  }

  function entry(given, address) {
    let name = strip(words(decodeWords(given)), BETWEEN);
    for (const [opens, closes] of ["''", "‘’", "“”", '""']) {
      if (name.length > 1 && name.startsWith(opens) && name.endsWith(closes)) name = name.slice(1, -1).trim();
    }
    return { name: name.toLowerCase() === address.toLowerCase() ? "" : name, address, text: "" };
  }

  // Holt, or van der Berg: one word, or small ones before a last one that is not
  function isSurname(text) {
    const isSmall = (one) => { const [sign] = one; return sign.toLowerCase() === sign && sign.toUpperCase() !== sign; };
    const parts = text.split(" ");
    return parts.length === 1 || (parts.slice(0, -1).every(isSmall) && !isSmall(parts.at(-1)));
  }

  // The entries of a list: {name, address, text}; text is all of it where there is no address.
  function list(given) {
    const text = clean(given);
    const tokens = scan(text);
    // between entries of such a list a comma is a name's: Holt, Ida <ida@example.com>; Bo Ek <bo@example.com>
    const parted = tokens.some((token) => token.kind === "end");
    const entries = [];
    let surnames = 0; // so many of the last entries are words that a comma ended
    let atStart = true; // those begin a part of the list

    const keep = (item) => entries.push({ name: "", address: "", text: words(text.slice(item[0].start, item.at(-1).end)) });

    // the old way: ida@example.com (Ida Holt)
    function nameLast(comment) {
      const last = entries.at(-1);
      if (!last?.address) return false;
      if (!last.name) entries[entries.length - 1] = entry(comment, last.address);
      return true;
    }

    // the words before commas that belong to it: all of a part of the list, else what looks like a surname
    function withSurname(name) {
      let before = surnames ? entries.slice(-surnames).map((one) => one.text) : [];
      if (!(parted && atStart)) {
        let fitting = 0;
        while (fitting < before.length && isSurname(before.at(-1 - fitting))) fitting += 1;
        before = before.slice(before.length - fitting);
      }
      entries.length -= before.length;
      return [...before, name].join(", ");
    }

    function bracket(item, token) {
      const address = bare(token.text);
      if (!address.includes("@")) keep([...item, token]);
      else {
        let name = nameOf(item);
        if (item.length && item.every((it) => it.kind !== "quoted")) name = withSurname(name);
        entries.push(entry(name, address));
      }
      surnames = 0;
      atStart = false;
    }

    // no bracket in it: addresses alone, the cells of a row, or no address at all
    function plain(item) {
      const parts = item.filter((it) => it.kind !== "tab" && !(it.kind === "word" && NO_WORD.test(it.text)));
      if (!parts.length) return;
      const found = parts.map(isAddress);
      const named = parts.some((it, place) => !found[place] && it.kind !== "comment");
      const some = found.includes(true);
      const inside = parts.at(-1).kind === "comment" && parts.length > 1 ? bare(parts.at(-1).text) : "";
      if (!some && LIKE_AN_ADDRESS.test(inside)) { // Ida Holt (ida@example.com)
        entries.push(entry(nameOf(parts.slice(0, -1)), inside));
        return;
      }
      if (!some || (named && !item.some((it) => it.kind === "tab"))) {
        keep(item);
        return;
      }
      const after = found[0] && !found.at(-1); // names stand behind their addresses
      let waiting = [];
      parts.forEach((it, place) => {
        if (it.kind === "comment") nameLast(it.text);
        else if (found[place]) {
          if (after) nameLast(nameOf(waiting));
          entries.push(entry(after ? "" : nameOf(waiting), bare(it.text)));
          waiting = [];
        } else waiting.push(it);
      });
      if (after) nameLast(nameOf(waiting));
    }

    function close(item, comma) {
      const before = entries.length;
      plain(item);
      const added = entries.slice(before);
      if (comma && added.length === 1 && !added[0].address && item.every((it) => it.kind === "word")) surnames += 1;
      else if (added.length || !comma) {
        surnames = 0;
        atStart = !comma;
      }
    }

    let item = [];
    for (const token of tokens) {
      if (token.kind === "comma" || token.kind === "end") {
        close(item, token.kind === "comma");
        item = [];
      } else if (token.kind === "bracket") {
        bracket(item, token);
        item = [];
      } else if (token.kind === "label") {
        if (!item.some((it) => it.text.includes("@"))) item = [];
      } else if (!(token.kind === "comment" && !item.length && nameLast(token.text))) item.push(token);
    }
    close(item, false);
    return entries;
  }

  // as shared/mailboxes.py writes it
  function format({ name, address }) {
    if (!name) return address;
    const plainly = `${name} <${address}>`;
    const read = ATOMS.test(name) && name === name.trim() && !name.includes("  ") ? list(plainly) : [];
    if (read.length === 1 && read[0].name === name && read[0].address === address) return plainly;
    return `"${name.replace(/[\\"]/g, "\\$&")}" <${address}>`;
  }

  return { list, format };
})();
