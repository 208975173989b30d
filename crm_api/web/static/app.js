// Posthaste: what the pages do beyond links and forms. Every page works without it.
"use strict";

const $ = (selector, root = document) => root.querySelector(selector);
const $$ = (selector, root = document) => [...root.querySelectorAll(selector)];
const inField = (element) => element?.closest("input:not([type=checkbox], [type=radio]), textarea, select, [contenteditable]");
// as crm_api/web/visible.py: what turns the direction of writing, or cannot be seen, is written out
const HIDDEN = /[\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\u0000-\u0008\u000b\u000c\u000e-\u001f\u007f-\u009f]/g;
const visible = (text) => text.replace(HIDDEN, (sign) => `[U+${sign.codePointAt(0).toString(16).toUpperCase().padStart(4, "0")}]`);
const setCookie = (name, value, days) => {
  document.cookie = `${name}=${encodeURIComponent(value)};path=/;max-age=${days * 86400};samesite=lax${location.protocol === "https:" ? ";secure" : ""}`;
};

// times are said in the reader's zone; the server learns it here
setCookie("timezone", Intl.DateTimeFormat().resolvedOptions().timeZone, 365);

// ---- whose page it is: what this browser keeps is one person's, and the next at it sees nothing of it

// "": nobody's
const user = document.documentElement.dataset.user;
// a person may have forbidden this browser to keep anything: then it keeps nothing, and all else works
const shelf = {
  get: (key) => { try { return localStorage.getItem(key); } catch { return null; } },
  put: (key, value) => { try { localStorage.setItem(key, value); } catch { /* full, or forbidden */ } },
  drop: (key) => { try { localStorage.removeItem(key); } catch { /* forbidden */ } },
  keys: () => { try { return Object.keys(localStorage); } catch { return []; } },
};
const KEPT = "kept:"; // kept:<user>:<what>
const WHO = "who"; // who was here last, for other tabs
const keptAs = (what) => `${KEPT}${user}:${what}`;

// all that is not theirs goes, also what an earlier version kept without saying whose it is
function sweep(whose) {
  for (const key of shelf.keys()) {
    if (key !== WHO && !(whose && key.startsWith(`${KEPT}${whose}:`))) shelf.drop(key);
  }
}

if (user) sweep(user); // on a page that is nobody's drafts wait for their writer: a session may just have ended
if (shelf.get(WHO) !== user) shelf.put(WHO, user);

// another tab signed out or in: this one shows what may be seen now. A page that is nobody's shows nothing anyway
const isAnothers = (who) => user && (who ?? "") !== user;
addEventListener("storage", (event) => { if (event.key === WHO && isAnothers(event.newValue)) location.reload(); });
// so does a page that comes back as it was left
addEventListener("pageshow", (event) => { if (event.persisted && isAnothers(shelf.get(WHO))) location.reload(); });
document.addEventListener("submit", (event) => { if (event.target.matches("[data-sign-out]")) sweep(""); });

// ---- what changed elsewhere: one stream a page, elements with data-topics fetch themselves again

let stream = null;
let heard = "";

function listen() {
  const topics = [...new Set($$("[data-topics]").flatMap((element) => element.dataset.topics.split(" ")))].sort().join(" ");
  if (!topics || document.hidden || (stream && topics === heard)) return;
  stream?.close();
  heard = topics;
  stream = new EventSource(`/events?topics=${encodeURIComponent(topics)}`);
  stream.addEventListener("changed", (event) => {
    document.documentElement.dataset.live = "yes";
    const changed = new Set(event.data.split(" "));
    for (const element of $$("[data-topics]")) {
      if (changed.has("*") || element.dataset.topics.split(" ").some((topic) => changed.has(topic))) {
        htmx.trigger(element, "stale", {}, false);
      }
    }
  });
}

// a page that is left or not seen holds no stream (a browser has six connections to a server for all its tabs);
// one that comes back opens it again, and its first word makes the page catch up
function rest() {
  stream?.close();
  stream = null;
  delete document.documentElement.dataset.live;
}
addEventListener("pagehide", rest);
addEventListener("pageshow", (event) => { if (event.persisted) listen(); });
document.addEventListener("visibilitychange", () => { if (document.hidden) rest(); else listen(); });

htmx.registerExtension("posthaste", {
  // what a person has opened or is choosing stays as it is; a mark whose state changed lands like a stamp
  htmx_before_morph_attr(element, { attrName, newValue }) {
    if (attrName === "open" && element.matches("details, dialog")) return false;
    if (attrName === "class" && element.matches(".mark") && element.className !== newValue) {
      const state = (text) => /\bis-\w+/.exec(text ?? "")?.[0];
      if (state(element.className) !== state(newValue)) setTimeout(() => element.classList.add("fresh"));
    }
    return true;
  },
});

document.addEventListener("htmx:after:swap", () => { listen(); wake(); });

document.addEventListener("htmx:error", ({ detail }) => {
  if (!detail.ctx || /GET/.test(detail.ctx.request?.method)) return;
  say("The server cannot be reached.", "Nothing was sent, and what you wrote is still here. Try again in a moment.");
});

// ---- toasts

const TOAST_SECONDS = 10;

function say(title, text) {
  const toast = document.createElement("div");
  toast.className = "toast is-failed";
  const words = document.createElement("p");
  const more = Object.assign(document.createElement("span"), { className: "sub", textContent: text });
  words.append(`${title} `, more);
  toast.append(words, Object.assign(document.createElement("span"), { className: "left" }));
  $("#toasts").replaceChildren(toast);
  wake();
}

// the line at its foot is the timer: both stop under the pointer and while something in it has the focus
function wakeToast(toast) {
  if (toast.dataset.awake) return;
  toast.dataset.awake = "yes";
  const undoSeconds = Number(toast.dataset.undoSeconds);
  const line = $(".left", toast);
  line.style.animationDuration = `${undoSeconds || TOAST_SECONDS}s`;
  let left = (undoSeconds || TOAST_SECONDS) * 1000;
  let undoing = undoSeconds > 0;
  let last = performance.now();
  const tick = setInterval(() => {
    const now = performance.now();
    if (!toast.matches(":hover, :focus-within")) left -= now - last;
    last = now;
    if (!toast.isConnected) return clearInterval(tick);
    if (left > 0) return undefined;
    if (undoing) { // it has left: the note stays a moment longer, without Undo
      undoing = false;
      $("[data-undo]", toast)?.remove();
      left = 4000;
      return undefined;
    }
    clearInterval(tick);
    return toast.remove();
  }, 100);
}

// ---- keyboard

// in a cookie, as the appearance: it is this browser's, whoever uses it
const singleKeys = () => !document.cookie.split("; ").includes("single-keys=off");

function rows() {
  return $$("main table.table > tbody > tr, main [data-rows] > *").filter((row) => row.offsetParent && $("a[href]", row));
}

function step(by) {
  const all = rows();
  if (!all.length) return;
  const at = all.findIndex((row) => row.contains(document.activeElement));
  const row = all[Math.min(Math.max(at < 0 ? (by > 0 ? 0 : all.length - 1) : at + by, 0), all.length - 1)];
  $("a[href]", row).focus();
  row.scrollIntoView({ block: "nearest" });
}

async function openKeys() {
  const dialog = $("#keys");
  if (!dialog || dialog.open) return;
  if (!dialog.firstElementChild) {
    const headers = { "HX-Request": "true", "HX-Request-Type": "partial", "HX-Target": "dialog#keys" };
    const answer = await fetch("/help/keys", { headers }).catch(() => null);
    if (!answer?.ok) return;
    dialog.innerHTML = await answer.text();
    wake();
  }
  dialog.showModal();
}

const keys = {
  "/": () => { const field = $("[data-key='/']"); field?.focus(); field?.select(); },
  "?": openKeys,
  z: () => $("#toasts [data-undo]")?.requestSubmit(),
  j: () => step(1),
  k: () => step(-1),
  x: () => document.activeElement?.closest("tr")?.querySelector(".pick .check")?.click(),
};

document.addEventListener("keydown", (event) => {
  if (event.defaultPrevented) return;
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) {
    const form = event.target.closest?.("form[data-send]");
    if (form) {
      event.preventDefault();
      form.requestSubmit($("[data-send-button]", form));
    }
    return;
  }
  if (event.key === "Escape") {
    const menu = event.target.closest?.("details.menu[open]") ?? $("details.menu[open]");
    if (menu) {
      menu.open = false;
      $("summary", menu).focus();
    }
    return;
  }
  if (event.ctrlKey || event.metaKey || event.altKey || inField(event.target) || $("dialog[open]") || !singleKeys()) return;
  const act = keys[event.key];
  if (!act) return;
  event.preventDefault();
  act();
});

// ---- clicks and changes that stay on the page

document.addEventListener("click", (event) => {
  const opener = event.target.closest("[data-opens-keys]");
  if (opener && $("#keys")) {
    event.preventDefault();
    $("#user")?.hidePopover();
    openKeys();
  }
  const closer = event.target.closest("[data-close]");
  if (closer?.dataset.close === "toast") closer.closest(".toast").remove();
  for (const menu of $$("details.menu[open]")) if (!menu.contains(event.target)) menu.open = false;
  const opensDialog = event.target.closest("[data-dialog]");
  const dialog = opensDialog && document.getElementById(opensDialog.dataset.dialog);
  if (dialog) {
    event.preventDefault();
    dialog.showModal();
  }
  if (event.target.closest("[data-close-dialog]")) event.target.closest("dialog").close();
});

document.addEventListener("submit", (event) => {
  if (!event.target.matches("[data-appearance]") || !event.submitter) return;
  event.preventDefault();
  const theme = event.submitter.value;
  setCookie("theme", theme === "system" ? "" : theme, theme === "system" ? -1 : 365);
  if (theme === "system") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = theme;
  for (const button of $$("button", event.target)) button.setAttribute("aria-pressed", button === event.submitter);
});

document.addEventListener("change", (event) => {
  if (event.target.matches("[data-single-keys]")) setCookie("single-keys", event.target.checked ? "on" : "off", 365);
  if (event.target.matches("[data-submits]")) event.target.form.requestSubmit();
  if (event.target.matches("thead .pick .check")) {
    for (const box of $$("tbody .pick .check", event.target.closest("table"))) box.checked = event.target.checked;
  }
  if (event.target.matches(".pick .check")) {
    const form = event.target.closest("form.selected");
    const said = form && $("[data-selected-count]", form);
    if (said) said.textContent = `${$$("tbody .pick .check:checked", form).length} selected`;
  }
});

// ---- what arrives with a page or a fragment

function wake() {
  for (const toast of $$(".toast")) wakeToast(toast);
  for (const box of $$("[data-single-keys]")) box.checked = singleKeys();
}

document.addEventListener("DOMContentLoaded", () => { wake(); listen(); });
