// The composer: chips, suggestions, files, fields, live preview, a draft that this browser keeps.
// Without it the same form does all of this by buttons.
"use strict";

{
  const DEBOUNCE_MS = 250;
  const CHIPS_AT_ONCE = 200;
  const composer = () => $("#composer");
  const form = () => $("#composer > form");
  let timer = 0;

  const later = (act) => { clearTimeout(timer); timer = setTimeout(act, DEBOUNCE_MS); };
  const refresh = () => { const seen = $("#seen"); if (seen) htmx.trigger(seen, "refresh", {}, false); };

  // ---- what is on its way (a recipient, a file) goes along: sending waits for it

  let unfinished = 0;
  let wantsToSend = null;

  async function finish(work) {
    unfinished += 1;
    try {
      await work();
    } catch (problem) {
      wantsToSend = null; // something is missing now: the person decides
      $("[data-saved]").textContent = "";
      throw problem;
    } finally {
      unfinished -= 1;
      if (!unfinished && wantsToSend) {
        const button = wantsToSend;
        wantsToSend = null;
        $("[data-saved]").textContent = "";
        if (!$("[data-files] .error")) form().requestSubmit(button.isConnected ? button : undefined);
      }
    }
  }

  // ---- recipients

  const field = () => $("#to-typed");
  const list = () => $("#suggestions");
  const options = () => $$("[role=option]", list());
  let asked = 0;

  function closeSuggestions() {
    if (!list()) return;
    asked += 1; // an answer that is still on its way comes too late
    list().hidden = true;
    list().replaceChildren();
    field().setAttribute("aria-expanded", "false");
    field().removeAttribute("aria-activedescendant");
  }

  async function suggest() {
    const last = Addresses.list(field().value).at(-1);
    const text = last?.address || last?.text || "";
    if (text.length < 2) return closeSuggestions();
    const mine = (asked += 1);
    const answer = await fetch(`/customers/suggest?q=${encodeURIComponent(text)}`).catch(() => null);
    if (mine !== asked || !answer?.ok) return undefined;
    const html = await answer.text();
    if (mine !== asked) return undefined;
    list().innerHTML = html;
    const some = options().length > 0;
    list().hidden = !some;
    field().setAttribute("aria-expanded", String(some));
    return undefined;
  }

  function mark(option) {
    for (const one of options()) one.setAttribute("aria-selected", String(one === option));
    if (option) {
      field().setAttribute("aria-activedescendant", option.id);
      option.scrollIntoView({ block: "nearest" });
    } else field().removeAttribute("aria-activedescendant");
  }

  // who is there already, by value and by address
  function known() {
    const there = new Set();
    for (const chip of $$("[data-chip]", form())) {
      const { value } = $("input", chip);
      there.add(value.toLowerCase());
      for (const { address } of value.startsWith("email:") ? Addresses.list(value.slice(6)) : []) there.add(address.toLowerCase());
    }
    return there;
  }

  async function addChips(values) {
    const there = known();
    const wanted = values.filter((value) => {
      const keys = [value, ...(value.startsWith("email:") ? Addresses.list(value.slice(6)).map((one) => one.address) : [])];
      if (keys.some((key) => key && there.has(key.toLowerCase()))) return false;
      for (const key of keys) there.add(key.toLowerCase());
      return true;
    });
    for (let at = 0; at < wanted.length; at += CHIPS_AT_ONCE) await fetchChips(wanted.slice(at, at + CHIPS_AT_ONCE));
  }

  async function fetchChips(values) {
    await finish(async () => {
      const body = new URLSearchParams(values.map((value) => ["value", value]));
      const answer = await fetch("/messages/recipient", { method: "POST", body });
      if (!answer.ok) throw new Error(answer.statusText);
      $("[data-chips]").insertAdjacentHTML("beforeend", await answer.text());
      changed();
    }).catch(() => { // nobody gets lost: an address goes back to where it was typed
      const back = values.filter((value) => value.startsWith("email:")).map((value) => value.slice(6));
      field().value = [field().value, ...back].filter(Boolean).join(", ");
      say("The server cannot be reached.", "The recipient could not be added. Try again in a moment.");
    });
  }

  // what is typed becomes chips, as far as it is an address; the rest stays
  function take(text) {
    const entries = Addresses.list(text);
    const good = entries.filter((one) => one.address);
    field().value = entries.filter((one) => !one.address).map((one) => one.text).join(", ");
    if (good.length) closeSuggestions();
    return addChips(good.map((one) => `email:${Addresses.format(one)}`));
  }

  const isAddresses = () => {
    const entries = Addresses.list(field().value);
    return entries.length > 0 && entries.every((one) => one.address);
  };

  // a list is taken apart at once, also its lines, which the field itself would run together
  function onPaste(event) {
    const pasted = event.clipboardData?.getData("text/plain") ?? "";
    const input = field();
    const text = input.value.slice(0, input.selectionStart) + pasted + input.value.slice(input.selectionEnd);
    if (!/[\r\n\t]/.test(pasted) && !Addresses.list(text).some((one) => one.address)) return;
    event.preventDefault();
    take(text);
    if (input.value) later(suggest);
  }

  function choose(option) {
    const before = Addresses.list(field().value).slice(0, -1); // it stands for the last word that was typed
    field().value = before.filter((one) => !one.address).map((one) => one.text).join(", ");
    closeSuggestions();
    addChips([...before.filter((one) => one.address).map((one) => `email:${Addresses.format(one)}`), option.dataset.value]);
    field().focus();
  }

  function onKey(event) {
    const all = options();
    const at = all.findIndex((option) => option.getAttribute("aria-selected") === "true");
    if (event.key === "ArrowDown" || event.key === "ArrowUp") {
      if (!all.length) return;
      event.preventDefault();
      const by = event.key === "ArrowDown" ? 1 : -1;
      mark(all[(at + by + all.length + (at < 0 && by < 0 ? 1 : 0)) % all.length]);
    } else if (event.key === "Enter" && !event.ctrlKey && !event.metaKey) {
      event.preventDefault(); // Enter never sends from here
      if (at >= 0) choose(all[at]);
      else if (isAddresses()) take(field().value);
      else if (all.length) choose(all[0]);
    } else if ([",", ";"].includes(event.key) && isAddresses()) {
      event.preventDefault();
      take(field().value);
    } else if (event.key === "Escape" && !list().hidden) {
      event.stopPropagation();
      closeSuggestions();
    } else if (event.key === "Backspace" && !field().value) {
      $$("[data-chip]", form()).at(-1)?.remove();
      changed();
    }
  }

  // ---- files

  async function upload(file) {
    const line = document.createElement("li");
    line.dataset.file = "";
    line.textContent = `${visible(file.name)} is being stored…`;
    $("[data-files]").append(line);
    await finish(async () => {
      const body = new FormData();
      body.append("file", file);
      const answer = await fetch("/messages/files", { method: "POST", body });
      if (!answer.ok && answer.status !== 413 && answer.status !== 422) throw new Error(answer.statusText);
      const holder = document.createElement("template");
      holder.innerHTML = await answer.text();
      line.replaceWith(holder.content);
    }).catch(() => {
      line.className = "error";
      line.textContent = `${visible(file.name)} could not be stored: the server cannot be reached. Attach it again in a moment.`;
    });
    changed();
  }

  // ---- a draft that this browser keeps until the letter is sent

  const draftKey = () => keptAs(`draft:${form().dataset.draft}`);
  const written = () => ({ subject: $("#subject").value, markdown: $("#markdown").value, reply_to: $("#reply-to").value });
  const isEmpty = () => !$("#subject")?.value && !$("#markdown")?.value;

  function keepDraft() {
    if (!form()) return;
    if (isEmpty()) shelf.drop(draftKey());
    else {
      shelf.put(draftKey(), JSON.stringify({ ...written(), at: Date.now() }));
      // what somebody waits for is said until it has come
      if (!wantsToSend) $("[data-saved]").textContent = `Draft kept ${new Date().toTimeString().slice(0, 5)}`;
    }
  }

  function bringDraft() {
    if (!form() || !isEmpty()) return;
    let draft = null;
    try { draft = JSON.parse(shelf.get(draftKey())); } catch { /* not ours */ }
    if (!draft) return;
    $("#subject").value = draft.subject ?? "";
    $("#markdown").value = draft.markdown ?? "";
    $("#reply-to").value = draft.reply_to ?? "";
    const at = new Date(draft.at);
    const day = at.toDateString() === new Date().toDateString() ? "" : `${at.toLocaleDateString("en-GB", { day: "numeric", month: "short" })}, `;
    $("[data-saved]").textContent = `Draft of ${day}${at.toTimeString().slice(0, 5)}`;
    refresh();
  }

  // kept at once: whoever leaves the page in the middle of a word finds all of it again
  const changed = () => { keepDraft(); later(refresh); };

  // ---- events, once for all composers that come and go

  document.addEventListener("input", (event) => {
    if (!event.target.closest("#composer")) return;
    if (event.target === field()) {
      clearTimeout(timer);
      timer = setTimeout(suggest, 150);
    } else changed();
  });

  document.addEventListener("keydown", (event) => { if (event.target === field()) onKey(event); }, true);
  document.addEventListener("focusout", (event) => {
    if (event.target !== field()) return;
    take(field().value);
    setTimeout(closeSuggestions, 150); // a click on a suggestion comes first
  });
  document.addEventListener("paste", (event) => {
    if (event.target === field()) onPaste(event);
  });

  document.addEventListener("mousedown", (event) => {
    const option = event.target.closest("#suggestions [role=option]");
    if (!option) return;
    event.preventDefault();
    choose(option);
  });

  document.addEventListener("click", (event) => {
    const inside = event.target.closest("#composer");
    if (!inside) return;
    const remove = event.target.closest("[data-remove]");
    if (remove) {
      event.preventDefault();
      const line = remove.closest("li");
      const next = $("button", line.nextElementSibling ?? line.parentElement) ?? field();
      line.remove();
      (next?.isConnected ? next : field()).focus();
      changed();
    }
    const insert = event.target.closest("[data-insert]");
    if (insert) {
      const text = $("#markdown");
      insert.closest("details").open = false;
      text.focus();
      text.setRangeText(insert.dataset.insert, text.selectionStart, text.selectionEnd, "end");
      changed();
    }
    const seen = event.target.closest("[data-seen]");
    if (seen) {
      event.preventDefault();
      $("#seen input[name=seen]").value = seen.dataset.seen;
      refresh();
    }
    if (event.target.closest(".to") && !event.target.closest("button, input, li")) field().focus();
  });

  document.addEventListener("change", (event) => {
    if (!event.target.matches("[data-uploads]")) return;
    for (const file of event.target.files) upload(file);
    event.target.value = "";
  });

  for (const name of ["dragover", "dragleave", "drop"]) {
    document.addEventListener(name, (event) => {
      const desk = event.target.closest?.("[data-drop]");
      if (!desk || !event.dataTransfer?.types.includes("Files")) return;
      event.preventDefault();
      desk.classList.toggle("over", name === "dragover");
      if (name === "drop") for (const file of event.dataTransfer.files) upload(file);
    });
  }

  // before htmx: a file on its way goes along, and a dialog closes behind its button
  document.addEventListener("submit", (event) => {
    if (event.target !== form()) return;
    if (unfinished) {
      event.preventDefault();
      event.stopImmediatePropagation();
      wantsToSend = event.submitter ?? $("[data-send-button]");
      $("[data-saved]").textContent = "Waiting for what is still on its way…";
      return;
    }
    if ($("#later")?.open) $("#later").close();
  }, true);

  // Undo brings the letter back into the composer, unless somebody has begun another one there
  document.addEventListener("htmx:config:request", ({ detail: { ctx } }) => {
    if (!ctx.request.action.endsWith("/undo") || !form()) return;
    ctx.request.body.set("composer", isEmpty() ? "empty" : "busy");
    ctx.request.body.set("back", form().dataset.draft);
  });

  document.addEventListener("htmx:before:response", ({ detail: { ctx } }) => {
    // sent: before the page goes on, or a fresh composer comes, the draft is forgotten
    if (ctx.sourceElement !== form() || ctx.request.action !== "/messages" || !ctx.response.raw.ok) return;
    clearTimeout(timer);
    shelf.drop(draftKey());
  });

  document.addEventListener("htmx:after:swap", ({ detail: { ctx } }) => {
    if (ctx.sourceElement?.closest?.("#composer") && ctx.response?.status >= 400) {
      if (field()) field().value = ""; // what stood there has become chips, good or bad
      $("#composer [aria-invalid=true]")?.focus();
    }
  });

  document.addEventListener("DOMContentLoaded", () => { setTimeout(bringDraft); }); // htmx is at work only then
}
