// Sets the theme before the page is drawn: the person's choice, or that of the system.
(() => {
  "use strict";
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const chosen = () => {
    try { return localStorage.getItem("daypass-theme") || ""; } catch { return ""; }
  };
  const apply = () => {
    document.documentElement.dataset.bsTheme = chosen() || (dark.matches ? "dark" : "light");
  };
  apply();
  dark.addEventListener("change", apply);
  document.addEventListener("daypass:theme", apply);
})();
