// Countdowns, the menu, dialogs, keys, the theme, and copying. Without this file all pages still work.
(() => {
  "use strict";

  const units = [[86400, "d"], [3600, "h"], [60, "min"], [1, "s"]];
  const duration = (seconds) => {
    const parts = [];
    let left = Math.max(0, Math.floor(seconds));
    for (const [size, unit] of units) {
      if (left >= size) { parts.push(`${Math.floor(left / size)} ${unit}`); left %= size; }
    }
    return parts.slice(0, 2).join(" ") || "0 s";
  };

  // The server's clock decides: the difference to this one is taken once, when the element arrives with its page or a part of it.
  const arrived = new WeakMap();
  const tick = () => {
    for (const element of document.querySelectorAll("time.countdown")) {
      if (!arrived.has(element)) arrived.set(element, Date.now());
      const passed = Date.now() - arrived.get(element);
      const left = (Number(element.dataset.until) - Number(element.dataset.now) - passed) / 1000;
      const text = duration(left);
      if (element.textContent !== text) element.textContent = text;
      element.classList.toggle("soon", left < 300);
    }
  };
  tick();
  setInterval(tick, 1000);

  const menu = document.querySelector("button.menu");
  const navigation = document.getElementById("navigation");
  if (menu && navigation) {
    menu.hidden = false;
    document.documentElement.classList.add("scripted");
    menu.addEventListener("click", () => {
      const open = menu.getAttribute("aria-expanded") !== "true";
      menu.setAttribute("aria-expanded", String(open));
      navigation.classList.toggle("open", open);
    });
  }

  const theme = document.getElementById("theme");
  if (theme) {
    theme.closest(".theme-field").hidden = false;
    theme.value = document.documentElement.dataset.theme;
    theme.addEventListener("change", () => {
      const secure = location.protocol === "https:" ? "; Secure" : "";
      document.cookie = `daypass-theme=${theme.value}; Path=/; SameSite=Lax; Max-Age=${theme.value ? 31536000 : 0}${secure}`;
      document.documentElement.dataset.theme = theme.value;
      document.dispatchEvent(new Event("daypass:theme"));
    });
  }

  const heading = document.querySelector("main h1");
  // Tables: the rows of the page are sorted by any column that the server does not sort by, and saved as CSV.
  const cellText = (cell) => cell?.querySelector("time")?.getAttribute("datetime") || cell?.textContent.trim().replace(/\s+/g, " ") || "";
  const sortBy = (table, heading) => {
    const column = [...heading.parentElement.children].indexOf(heading);
    const up = heading.getAttribute("aria-sort") !== "ascending";
    for (const each of heading.parentElement.children) each.removeAttribute("aria-sort");
    heading.setAttribute("aria-sort", up ? "ascending" : "descending");
    const compare = new Intl.Collator(undefined, { numeric: true }).compare;
    const rows = [...table.tBodies[0].rows].sort((a, b) => compare(cellText(a.cells[column]), cellText(b.cells[column])) * (up ? 1 : -1));
    table.tBodies[0].append(...rows);
  };
  const save = (table) => {
    // A value that a spreadsheet would take for a formula begins with an apostrophe.
    const quoted = (cell) => `"${cellText(cell).replace(/^[=+@-]/, "'$&").replace(/"/g, '""')}"`;
    const lines = [...table.rows].map((row) => [...row.cells].filter((cell) => !cell.hidden && cell.className !== "choose").map(quoted).join(","));
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([lines.join("\r\n")], { type: "text/csv" }));
    link.download = `${(heading?.textContent || "table").toLowerCase().replace(/[^a-z0-9]+/g, "-")}.csv`;
    link.click();
    URL.revokeObjectURL(link.href);
  };
  // Which columns a table shows is kept in this browser.
  const chooseColumns = (table) => {
    const key = `daypass-columns ${location.pathname}`;
    const hidden = new Set(JSON.parse(localStorage.getItem(key) || "[]"));
    const titled = [...table.tHead.rows[0].cells].filter((each, at) => at && each.tagName === "TH" && each.textContent.trim());
    const menu = Object.assign(document.createElement("details"), { className: "fold choose-columns" });
    menu.append(Object.assign(document.createElement("summary"), { className: "btn", textContent: "Columns" }));
    const panel = document.createElement("div");
    menu.append(panel);
    for (const each of titled) {
      const title = each.textContent.trim();
      const label = Object.assign(document.createElement("label"), { className: "form-check" });
      const box = Object.assign(document.createElement("input"), { type: "checkbox", className: "form-check-input", checked: !hidden.has(title) });
      const show = () => { for (const row of table.rows) row.cells[each.cellIndex].hidden = !box.checked; };
      box.addEventListener("change", () => {
        if (box.checked) hidden.delete(title); else hidden.add(title);
        localStorage.setItem(key, JSON.stringify([...hidden]));
        show();
      });
      box.setAttribute("aria-label", `Show the column ${title}`);
      label.append(box, title);
      panel.append(label);
      show();
    }
    return menu;
  };
  const prepareTable = (wrap) => {
    const table = wrap.querySelector("table");
    if (!table?.tHead || !table.tBodies[0] || !table.tBodies[0].rows.length || wrap.dataset.prepared) return;
    wrap.dataset.prepared = "yes";
    for (const each of table.tHead.rows[0].cells) {
      if (table.tBodies[0].rows.length < 2 || each.querySelector("a, .visually-hidden") || !each.textContent.trim()) continue;
      const button = Object.assign(document.createElement("button"), { type: "button", className: "sort" });
      button.append(...each.childNodes);
      button.addEventListener("click", () => sortBy(table, each));
      each.append(button);
    }
    const button = Object.assign(document.createElement("button"), { type: "button", className: "btn csv", textContent: "Save as CSV" });
    button.addEventListener("click", () => save(table));
    wrap.after(button, chooseColumns(table));
  };
  // A form after a table acts on the rows that are chosen in it.
  const prepareBulk = (form) => {
    const table = form.parentElement.querySelector("table");
    if (form.dataset.prepared || !table) return;
    form.dataset.prepared = "yes";
    form.hidden = false;
    const boxes = [];
    const all = Object.assign(document.createElement("input"), { type: "checkbox", className: "form-check-input" });
    const update = () => {
      const chosen = boxes.filter((box) => box.checked).map((box) => box.value);
      form.elements.chosen.value = chosen.join(" ");
      form.querySelector("button").disabled = !chosen.length;
      form.querySelector("span").textContent = chosen.length ? `${chosen.length} chosen` : "";
      all.checked = chosen.length > 0 && chosen.length === boxes.length;
    };
    all.setAttribute("aria-label", "Choose all rows");
    all.addEventListener("change", () => { for (const box of boxes) box.checked = all.checked; update(); });
    for (const row of table.rows) {
      const cell = row.insertCell(0);
      cell.className = "choose";
      if (row.parentElement === table.tHead) cell.append(all);
      if (!row.dataset.key) continue;
      const box = Object.assign(document.createElement("input"), { type: "checkbox", className: "form-check-input", value: row.dataset.key });
      box.setAttribute("aria-label", `Choose ${cellText(row.cells[1])}`);
      box.addEventListener("change", update);
      cell.append(box);
      boxes.push(box);
    }
    update();
  };
  const prepare = (root) => {
    for (const button of root.querySelectorAll("button[data-copy]")) button.hidden = !navigator.clipboard;
    for (const form of root.querySelectorAll("form.bulk")) prepareBulk(form);
    for (const wrap of root.querySelectorAll("#list .card.table-wrap")) prepareTable(wrap);
    for (const button of root.querySelectorAll("button[data-reveal][hidden]")) {
      const secret = document.getElementById(button.dataset.reveal);
      button.hidden = false;
      secret.classList.add("masked");
      button.addEventListener("click", () => button.setAttribute("aria-pressed", String(!secret.classList.toggle("masked"))));
    }
  };
  // Completes what is typed, from the server: a list below the field, for arrow keys and Enter, or for the pointer.
  const close = (field) => {
    field.parentElement.querySelector(":scope > .options")?.remove();
    for (const each of ["aria-activedescendant", "aria-controls"]) field.removeAttribute(each);
    field.setAttribute("aria-expanded", "false");
  };
  const choose = (field, option) => {
    field.value = option.dataset.value;
    close(field);
    field.dispatchEvent(new Event(field.value.endsWith(":") ? "input" : "change", { bubbles: true })); // a service, then its actions
  };
  const pick = async (field) => {
    const answer = await fetch(`/console/pick?kind=${field.dataset.pick}&text=${encodeURIComponent(field.value)}`);
    const found = answer.ok && !answer.redirected ? await answer.json() : [];
    close(field);
    if (document.activeElement !== field || !found.some(([value]) => value !== field.value)) return;
    const list = Object.assign(document.createElement("ul"), { className: "options", id: `${field.id}-options`, role: "listbox", ariaLabel: "Suggestions" });
    for (const [at, [value, label]] of found.entries()) {
      const option = Object.assign(document.createElement("li"), { id: `${list.id}-${at}`, role: "option", ariaSelected: "false", textContent: value });
      option.dataset.value = value;
      if (label) option.append(Object.assign(document.createElement("span"), { className: "small", textContent: label }));
      option.addEventListener("pointerdown", (event) => { event.preventDefault(); choose(field, option); });
      list.append(option);
    }
    field.after(list);
    field.setAttribute("aria-controls", list.id);
    field.setAttribute("aria-expanded", "true");
  };
  let picking = 0;
  document.addEventListener("input", ({ target }) => {
    if (!target.dataset?.pick) return;
    Object.assign(target, { role: "combobox", ariaAutoComplete: "list", ariaExpanded: target.ariaExpanded ?? "false" });
    clearTimeout(picking);
    picking = setTimeout(() => pick(target), 150);
  });
  document.addEventListener("focusout", ({ target }) => { if (target.getAttribute("aria-controls") && target.dataset.pick) close(target); });
  document.addEventListener("keydown", (event) => {
    const field = event.target;
    const options = field.dataset?.pick ? [...field.parentElement.querySelectorAll(":scope > .options > li")] : [];
    if (!options.length) return;
    const at = options.findIndex((each) => each.ariaSelected === "true");
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (event.key === "Escape") close(field);
    else if (event.key === "Enter" && at >= 0) choose(field, options[at]);
    else if (step) {
      const next = options[(at + step + options.length + (at < 0 && step < 0 ? 1 : 0)) % options.length];
      if (at >= 0) options[at].ariaSelected = "false";
      next.ariaSelected = "true";
      next.scrollIntoView({ block: "nearest" });
      field.setAttribute("aria-activedescendant", next.id);
    } else return;
    event.preventDefault();
    event.stopPropagation();
  }, true);
  prepare(document);
  document.addEventListener("htmx:afterSwap", (event) => prepare(event.target.parentElement || document));
  // A filter is answered by its page. Any other answer is shown as a page: a refusal, or the sign-in after the session has ended.
  document.addEventListener("htmx:beforeOnLoad", (event) => {
    const { xhr, pathInfo } = event.detail;
    const answered = new URL(xhr.responseURL);
    if (xhr.status < 400 && answered.pathname === new URL(pathInfo.finalRequestPath, location.href).pathname) return;
    event.preventDefault();
    const { elt } = event.detail;
    if (xhr.status >= 400 && elt.classList.contains("skeleton")) {
      elt.replaceChildren(Object.assign(document.createElement("p"), { textContent: "This part could not be loaded. Load the page again." }));
      elt.classList.remove("skeleton");
      elt.removeAttribute("aria-busy");
    } else location.assign(answered);
  });
  document.addEventListener("click", async (event) => {
    const button = event.target.closest("button[data-copy]");
    if (!button) return;
    const source = document.getElementById(button.dataset.copy);
    try {
      await navigator.clipboard.writeText(source.textContent);
      button.textContent = "Copied";
    } catch {
      getSelection().selectAllChildren(source);
      button.textContent = "Press Ctrl+C";
    }
  });
  // Notes disappear after a while, but not while somebody reads them with pointer or keyboard.
  const note = document.querySelector(".toast-note");
  if (note) {
    const dismiss = note.querySelector("button");
    dismiss.hidden = false;
    dismiss.addEventListener("click", () => note.remove());
    setInterval(() => { if (!note.matches(":hover, :focus-within")) note.remove(); }, 12000);
  }

  const dialogs = { find: document.getElementById("find"), keys: document.getElementById("keys") };
  const open = (name) => {
    if (!dialogs[name] || dialogs[name].open) return;
    for (const each of Object.values(dialogs)) each.close();
    dialogs[name].showModal();
    if (name === "find") { const field = dialogs.find.querySelector("input"); field.select(); showRecent(field); }
  };
  for (const button of document.querySelectorAll("button[data-back]")) {
    button.hidden = false;
    button.addEventListener("click", () => history.back());
  }
  for (const button of document.querySelectorAll("button[data-open]")) {
    button.hidden = false;
    button.addEventListener("click", () => open(button.dataset.open));
  }
  for (const each of Object.values(dialogs)) {
    each?.addEventListener("click", (event) => { if (event.target === each) each.close(); });
  }

  // What was opened last, in this browser and account, is offered before anything is typed.
  const recentKey = `daypass-recent ${document.querySelector(".top .account")?.textContent || ""}`;
  const recent = () => { try { return JSON.parse(localStorage.getItem(recentKey)) || []; } catch { return []; } };
  const here = location.pathname + location.search;
  if (heading && dialogs.find && /^\/console\/[a-z-]+\?/.test(here) && !document.querySelector("main [role=alert]")) {
    const entry = { href: here.replace(/[?&]done=[a-z-]+/, ""), text: heading.textContent, kind: document.querySelector("#navigation [aria-current]")?.textContent || "" };
    localStorage.setItem(recentKey, JSON.stringify([entry, ...recent().filter((each) => each.href !== entry.href)].slice(0, 8)));
  }
  const showRecent = (field) => {
    const found = document.getElementById("found");
    if (field.value.trim() || !recent().length) return;
    const list = document.createElement("ul");
    for (const { href, text, kind } of recent()) {
      const link = document.createElement("a");
      const label = document.createElement("span");
      const small = document.createElement("span");
      [link.href, label.textContent, small.textContent, small.className] = [href, text, kind, "small"];
      link.append(label, small);
      list.appendChild(document.createElement("li")).append(link);
    }
    found.replaceChildren(Object.assign(document.createElement("h2"), { textContent: "Recent" }), list);
  };
  dialogs.find?.addEventListener("keydown", (event) => {
    const links = [...dialogs.find.querySelectorAll("#found a")];
    const at = links.indexOf(document.activeElement);
    if (event.key === "Enter" && at < 0) {
      event.preventDefault();
      links[0]?.click();
    } else if (event.key === "ArrowDown" || event.key === "ArrowUp") {
      event.preventDefault();
      const next = at + (event.key === "ArrowDown" ? 1 : -1);
      (next < 0 ? dialogs.find.querySelector("input") : links[Math.min(next, links.length - 1)])?.focus();
    }
  });

  // Letters alone can be switched off (WCAG 2.1.4): speech input and slips of the hand would press them.
  const letters = document.getElementById("letters");
  if (letters) {
    letters.checked = localStorage.getItem("daypass-letters") !== "off";
    letters.addEventListener("change", () => localStorage.setItem("daypass-letters", letters.checked ? "on" : "off"));
  }
  // The first link or button of the next row, card or item of the page; of its first one, if none has the focus.
  const nextRow = (step) => {
    const rows = [...document.querySelectorAll("main tbody tr, main .cards > li, main .list > li")].filter((each) => each.querySelector("a, .btn"));
    const row = rows[rows.findIndex((each) => each.contains(document.activeElement)) + step];
    row?.querySelector("a, .btn").focus();
  };
  let leader = 0;
  document.addEventListener("keydown", (event) => {
    const { key } = event, [target] = event.composedPath(); // an editor has a shadow root
    if ((event.ctrlKey || event.metaKey) && key.toLowerCase() === "k") { event.preventDefault(); open("find"); return; }
    const typing = document.querySelector("dialog[open]") || target.isContentEditable || (target.closest?.("input:not([type=checkbox]), textarea, select") && !target.closest("dialog"));
    if (event.ctrlKey || event.metaKey || event.altKey || typing || !letters?.checked) return;
    const led = leader > Date.now() - 1500;
    leader = key === "g" && !led ? Date.now() : 0;
    if (led) document.querySelector(`#navigation a[data-key="${CSS.escape(key.toLowerCase())}"]`)?.click();
    else if (key === "?") open("keys");
    else if (key === "c") document.querySelector("main a[data-new]")?.click();
    else if (key === "a") document.querySelector("main .btn-primary")?.focus();
    else if (key === "j" || key === "k") nextRow(key === "j" ? 1 : -1);
  });
  document.addEventListener("keydown", (event) => {
    if (event.key !== "Escape") return;
    if (navigation?.classList.contains("open")) { menu.click(); menu.focus(); }
    const open = document.querySelector("details.user[open]");
    if (open) { open.open = false; open.querySelector("summary").focus(); }
  });

  // The inbox. One tab of a browser asks for all of them; the others hear from it.
  const badge = document.getElementById("badge");
  const who = document.querySelector(".user-menu .small")?.textContent;
  const stored = `daypass-inbox ${who}`;
  const known = () => { try { return JSON.parse(localStorage.getItem(stored)) || {}; } catch { return {}; } };
  let title = document.title;
  const showInbox = ({ items = [] }) => {
    badge.hidden = !items.length;
    badge.textContent = items.length;
    badge.setAttribute("aria-label", `${items.length} to do`);
    document.title = items.length ? `(${items.length}) ${title.replace(/^(Home) \(\d+\)/, "$1")}` : title;
  };
  const notify = ([text, href]) => {
    if (!("Notification" in window) || Notification.permission !== "granted") return;
    let shown;
    try { shown = new Notification("Daypass", { body: text, tag: href }); } catch { return; } // some phones have no constructor
    shown.onclick = () => { window.focus(); location.assign(href); };
  };
  const soon = new Set();
  const linkTo = (href, textContent) => Object.assign(document.createElement("a"), { href, textContent });
  const toast = (...parts) => {
    const text = Object.assign(document.createElement("div"), { className: "toast-note", role: "status" });
    const said = document.createElement("span");
    said.append(...parts);
    const dismiss = Object.assign(document.createElement("button"), { type: "button", textContent: "×", ariaLabel: "Dismiss the message" });
    dismiss.addEventListener("click", () => text.remove());
    text.append(said, dismiss);
    document.querySelector(".toast-note")?.remove();
    document.body.append(text);
  };
  const heard = (summary, fresh = []) => {
    showInbox(summary);
    if (fresh.length) toast(...fresh.slice(0, 3).flatMap(([text, href]) => [linkTo(href, text), " "]));
    const main = document.querySelector("main[data-live]");
    if (!main || main.dataset.live === summary.live) return;
    main.dataset.live = summary.live;
    // Nobody loses what they write or where they are: a page in use offers to be loaded again.
    if (main.contains(document.activeElement) && main !== document.activeElement) {
      toast("This page has changed. ", linkTo(location.href, "Show it"), ...fresh.slice(0, 3).flatMap(([text, href]) => [" ", linkTo(href, text)]));
    } else {
      htmx.ajax("GET", location.pathname + location.search, { target: "#main", select: "#main", swap: "outerHTML" });
    }
  };
  if (badge && who) {
    showInbox(known());
    // htmx takes the title of what it has loaded.
    document.addEventListener("htmx:afterSettle", () => {
      if (!document.title.startsWith("(")) title = document.title;
      showInbox(known());
    });
    const channel = new BroadcastChannel("daypass-inbox");
    channel.addEventListener("message", ({ data }) => { if (data.who === who) heard(data.summary, data.fresh); });
    const lead = () => {
      const source = new EventSource(`/console/inbox/events?since=${encodeURIComponent(known().id || "")}`);
      source.addEventListener("inbox", ({ data, lastEventId }) => {
        const summary = { ...JSON.parse(data), id: lastEventId };
        const before = new Set((known().items || []).map(String));
        // What waited before this browser looked for the first time is not new.
        const fresh = known().id ? summary.items.filter((item) => !before.has(String(item))) : [];
        fresh.forEach(notify);
        localStorage.setItem(stored, JSON.stringify(summary));
        channel.postMessage({ who, summary, fresh });
        heard(summary, fresh);
      });
      setInterval(() => {
        for (const [text, href, at] of known().ends || []) {
          if (at - Date.now() < 300000 && at > Date.now() && !soon.has(href)) { soon.add(href); notify([text, href]); }
        }
      }, 20000);
      return new Promise(() => {});
    };
    if (navigator.locks) navigator.locks.request("daypass-inbox", lead); else lead();
    const allow = document.getElementById("notify");
    if (allow && "Notification" in window && Notification.permission === "default") {
      allow.hidden = false;
      allow.addEventListener("click", async () => { await Notification.requestPermission(); allow.hidden = true; });
    }
  }

  (document.getElementById("problem") || document.querySelector("#new .form-control"))?.focus();
})();
