// Shared by the live figures. One figure, one file:
//
//   Live.figure("name", (stage, data) => { …draw…; return redraw; });    in js/name.js
//
// is called for every .live-stage[data-live="name"] with the element and the JSON of its
// <script type="application/json">; redraw (if one is returned) runs when the mode or the width changes.
// The stage keeps its height from CSS (aspect-ratio), so that nothing jumps. A figure that
// throws shows its still twin instead.
const Live = {
  figure(name, draw) {
    document.querySelectorAll(`.live-stage[data-live="${name}"]`).forEach((stage) => {
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
        stage.closest(".live")?.classList.add("live-failed");
        throw error; // the console, and with it the browser test, must see it
      }
    });
  },

  // A label names the first control in it, and <output> is one: tie it to the slider that it is meant for.
  tie(label) {
    const input = label.querySelector("input, select");
    if (!input || label.control === input) return;
    input.id ||= `live-${++Live.count}`;
    label.htmlFor = input.id;
  },
  count: 0,

  // A colour of the page's style sheet, in the mode of the moment.
  colour: (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim(),

  // base64 -> bytes
  bytes: (text) => Uint8Array.from(atob(text), (c) => c.charCodeAt(0)),
};

// A page loads the files of its own figures only. This script is deferred: the document is parsed.
{
  const base = document.currentScript.src.replace(/live\.js.*$/, "");
  const names = [...document.querySelectorAll(".live-stage[data-live]")].map((el) => el.dataset.live);
  for (const name of new Set(names)) {
    const script = document.createElement("script");
    script.src = `${base}${name}.js`;
    document.head.append(script);
  }
}
