// Sets the theme before the page is drawn: the person's choice, which the server has read from a cookie, or that of the system.
(() => {
  "use strict";
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const root = document.documentElement;
  const apply = () => { root.dataset.bsTheme = root.dataset.theme || (dark.matches ? "dark" : "light"); };
  apply();
  dark.addEventListener("change", apply);
  document.addEventListener("daypass:theme", apply);
})();
