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

// What the address names is where the page stands once everything above it has its height: answers fold and formulas are set
// after the browser has gone there. Whoever scrolls meanwhile stays where he is, and so does who comes back to a page.
(() => {
  if (!location.hash || performance.getEntriesByType("navigation")[0]?.type !== "navigate") return;
  const stop = new AbortController();
  const go = () => stop.signal.aborted || document.querySelector(":target")?.scrollIntoView({ behavior: "instant" });
  const watch = new ResizeObserver(go);
  watch.observe(document.querySelector("article") ?? document.body);
  stop.signal.addEventListener("abort", () => watch.disconnect());
  for (const type of ["wheel", "touchstart", "pointerdown", "keydown", "hashchange"])
    addEventListener(type, () => stop.abort(), { signal: stop.signal, passive: true });
  const loaded = new Promise((done) => addEventListener("load", done));
  Promise.all([loaded.then(() => window.MathJax?.startup?.promise), document.fonts.ready])
    .then(() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done))))
    .then(go)
    .finally(() => stop.abort());
})();
