// What overflows and scrolls must be reachable by keyboard: equations, tables and code get a tab stop
// while (and only while) they are wider than their block.
(() => {
  const scrollers = "div.math > mjx-container, .pst-scrollable-table-container, .bd-article pre";
  const mark = () =>
    document.querySelectorAll(scrollers).forEach((el) => {
      if (el.scrollWidth > el.clientWidth + 1) el.tabIndex = 0;
      else el.removeAttribute("tabindex");
    });
  addEventListener("load", () => (window.MathJax?.startup?.promise ?? Promise.resolve()).then(mark));
  addEventListener("resize", mark);
})();

// From the disk a page cannot fetch another, so search shows its finds without the lines around them.
if (location.protocol === "file:" && typeof DOCUMENTATION_OPTIONS !== "undefined")
  DOCUMENTATION_OPTIONS.SHOW_SEARCH_SUMMARY = false;
