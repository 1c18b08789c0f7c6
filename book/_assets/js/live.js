// Shared by the live figures. One figure, one file:
//
//   Live.figure("name", (stage, data) => { …draw…; return redraw; }, ["shared"]);    in js/name.js
//
// is called for every .live-stage[data-live="name"] with the element and the JSON of its
// <script type="application/json">, once the files that it shares with other figures (js/shared.js) are there;
// redraw (if one is returned) runs when the mode or the width changes.
// The stage keeps its height from CSS (aspect-ratio), so that nothing jumps. A figure that
// throws shows its still twin instead.
const Live = {
  figure(name, draw, shared = []) {
    const stages = [...document.querySelectorAll(`.live-stage[data-live="${name}"]`)];
    const start = () => stages.forEach((stage) => Live.start(stage, draw));
    if (!shared.length) return start();
    Promise.all(shared.map(Live.load)).then(start, () => stages.forEach(Live.fail));
  },

  start(stage, draw) {
    try {
      const json = stage.querySelector('script[type="application/json"]');
      const redraw = draw(stage, json ? JSON.parse(json.textContent) : null);
      stage.querySelectorAll("label").forEach(Live.tie);
      if (!redraw) return;
      new ResizeObserver(() => redraw()).observe(stage);
      new MutationObserver(() => redraw()).observe(document.documentElement, {
        attributeFilter: ["data-theme"],
      });
    } catch (error) {
      Live.fail(stage);
      throw error; // the console, and with it the browser test, must see it
    }
  },

  fail: (stage) => stage.closest(".live")?.classList.add("live-failed"),

  // The parts of the engine, for a figure that infers: what is in which, js/engine/engine.js says.
  engine: ["engine", "random", "weights", "model", "noise", "float64", "simd", "float32", "inference", "meanfield", "population", "evolution", "jobs", "worker"].map((part) => `engine/${part}`),

  // Loads js/NAME.js, once a page; what is asked for first runs first.
  load(name) {
    Live.loaded[name] ??= new Promise((done, failed) => {
      const script = document.createElement("script");
      Object.assign(script, { src: `${Live.base}${name}.js`, onload: done, onerror: failed, async: false });
      document.head.append(script);
    });
    return Live.loaded[name];
  },
  loaded: {},
  base: document.currentScript.src.replace(/live\.js.*$/, ""),

  // A label names the first control in it, and <output> is one: tie it to the slider that it is meant for.
  tie(label) {
    const input = label.querySelector("input, select");
    if (!input || label.control === input) return;
    input.id ||= `live-${++Live.count}`;
    label.htmlFor = input.id;
  },
  count: 0,

  // What the lines of a figure are, as SVG: [[words, colour, dashes], …] from left, or up to right where that is given.
  legend(items, y, { left = 0, right = null }) {
    const wide = ([words]) => 36 + 6.2 * words.length;
    let x = right === null ? left : right - items.reduce((sum, item) => sum + wide(item), 0) + 14;
    return items
      .map((item) => {
        const [words, colour, dashes = "none"] = item;
        const at = x;
        x += wide(item);
        return (
          `<path d="M${at} ${y - 4}h16" stroke="${colour}" stroke-width="2.2" stroke-dasharray="${dashes}"/>` +
          `<text x="${at + 21}" y="${y}" fill="currentColor">${words}</text>`
        );
      })
      .join("");
  },

  // A colour of the page's style sheet, in the mode of the moment.
  colour: (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim(),

  // base64 -> bytes
  bytes: (text) => Uint8Array.from(atob(text), (c) => c.charCodeAt(0)),
};

// A page loads the files of its own figures only. This script is deferred: the document is parsed.
for (const stage of document.querySelectorAll(".live-stage[data-live]")) {
  Live.load(stage.dataset.live).catch(() => Live.fail(stage));
}
