// What overflows must scroll in its own block and be reachable by keyboard: equations, tables and code get a
// tab stop while (and only while) they are wider than there is room.
(() => {
  const blocks = "div.math > mjx-container, .pst-scrollable-table-container, .bd-article pre";
  const stop = (el, wide) => (wide ? (el.tabIndex = 0) : el.removeAttribute("tabindex"));
  const mark = () => {
    document.querySelectorAll(blocks).forEach((el) => stop(el, el.scrollWidth > el.clientWidth + 1));
    document.querySelectorAll("span.math").forEach((el) => {
      const room = el.parentElement.closest("p, li, td, th, dd, h1, h2, h3, figcaption, div");
      const wide = (el.querySelector("mjx-math")?.getBoundingClientRect().width ?? 0) > (room?.clientWidth ?? 1e9);
      el.classList.toggle("wide", wide);
      stop(el, wide);
    });
  };
  addEventListener("load", () => (window.MathJax?.startup?.promise ?? Promise.resolve()).then(mark));
  addEventListener("resize", mark);
})();
