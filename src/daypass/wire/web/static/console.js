// Countdowns, the menu, the theme, and copying. Without this file all pages still work.
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

  const prepare = (root) => {
    for (const button of root.querySelectorAll("button[data-copy]")) button.hidden = !navigator.clipboard;
  };
  prepare(document);
  document.addEventListener("htmx:afterSwap", (event) => prepare(event.target.parentElement || document));
  // A filter is answered by its page. Any other answer is shown as a page: a refusal, or the sign-in after the session has ended.
  document.addEventListener("htmx:beforeOnLoad", (event) => {
    const { xhr, pathInfo } = event.detail;
    const answered = new URL(xhr.responseURL);
    if (xhr.status < 400 && answered.pathname === new URL(pathInfo.finalRequestPath, location.href).pathname) return;
    event.preventDefault();
    location.assign(answered);
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
  document.addEventListener("keydown", (event) => {
    if (event.key !== "Escape") return;
    if (navigation?.classList.contains("open")) { menu.click(); menu.focus(); }
    const open = document.querySelector("details.user[open]");
    if (open) { open.open = false; open.querySelector("summary").focus(); }
  });

  const problem = document.getElementById("problem");
  if (problem) problem.focus();
})();
