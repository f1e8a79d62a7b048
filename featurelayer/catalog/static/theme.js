// Before the page is drawn: the reader's choice of light or dark, if there is one.
(() => {
  "use strict";
  let chosen = null;
  try {
    chosen = localStorage.getItem("featurelayer-theme");
  } catch {
    // A page that is opened from a folder may have no storage.
  }
  if (chosen === "dark" || chosen === "light") document.documentElement.dataset.theme = chosen;
})();
