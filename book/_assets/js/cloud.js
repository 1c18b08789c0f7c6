// Messages to the true parent from 400 tables of rules, their mean, and the annealed map.
// Data: {v, s, m: [choices], start, own, all}; own[i][draw][k-1] is how many rules of the true parent stand at
// distance k from the true tuple, all[i][draw][k-1] how many of all symbols.
const Cloud = (() => {
  // Belief of one tuple at distance k = 0 … s.
  const beliefs = (p, v, s) => Array.from({ length: s + 1 }, (_, k) => p ** (s - k) * ((1 - p) / (v - 1)) ** k);
  const weight = (counts, b) => counts.reduce((sum, n, k) => sum + n * b[k + 1], 0);
  const messages = (p, v, s, own, all) => {
    const b = beliefs(p, v, s);
    return own.map((mine, draw) => (b[0] + weight(mine, b)) / (b[0] + weight(all[draw], b)));
  };
  return { messages };
})();
if (typeof module !== "undefined") module.exports = Cloud;

if (typeof Live !== "undefined")
  Live.figure(
    "cloud",
    (stage, { v, s, m: choices, start, own, all }) => {
      const make = (parent, tag, attributes = {}, space = "http://www.w3.org/2000/svg") => {
        const el = document.createElementNS(space, tag);
        for (const [key, value] of Object.entries(attributes)) el.setAttribute(key, value);
        return parent.appendChild(el);
      };
      const svg = make(stage, "svg", { role: "img" });
      svg.style.cssText = "overflow:visible;font:13px var(--hier-sans)";
      const controls = document.createElement("div");
      controls.className = "live-controls";
      controls.innerHTML = `
        <label class="live-range"><span>rules per symbol, m</span><output></output>
          <input type="range" min="0" max="${choices.length - 1}" step="1" value="${start}"></label>
        <label class="live-range"><span>belief in each true child, p</span><output></output>
          <input type="range" min="${(1 / v).toFixed(3)}" max="1" step="0.005" value="0.5"></label>`;
      const said = document.createElement("p");
      said.setAttribute("role", "status");
      said.style.cssText = "margin:.5rem 0 0;min-height:3em";
      stage.append(controls, said);
      const [inputM, inputP] = controls.querySelectorAll("input");
      const [outM, outP] = controls.querySelectorAll("output");
      const grid = Array.from({ length: 49 }, (_, i) => 1 / v + (1 - 1 / v) * (i / 48));
      const table = choices.map(() => null); // messages on the grid, made when first shown

      function redraw() {
        const i = +inputM.value;
        const p = +inputP.value;
        const m = choices[i];
        table[i] ??= grid.map((x) => Cloud.messages(x, v, s, own[i], all[i]));
        const width = Math.max(stage.clientWidth, 240);
        const height = Math.min(width * 0.66, 420);
        const [left, right, top, bottom] = [44, 12, 26, 40];
        const x = (t) => left + t * (width - left - right);
        const y = (t) => height - bottom - t * (height - top - bottom);
        const line = (ys) => ys.map((t, j) => `${j ? "L" : "M"}${x(grid[j]).toFixed(1)} ${y(t).toFixed(1)}`).join("");
        svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
        svg.replaceChildren();
        for (const t of [0, 0.2, 0.4, 0.6, 0.8, 1]) {
          make(svg, "text", { x: x(t), y: height - bottom + 18, "text-anchor": "middle", fill: "currentColor" }).textContent = t;
          make(svg, "text", { x: left - 8, y: y(t) + 4, "text-anchor": "end", fill: "currentColor" }).textContent = t;
        }
        make(svg, "path", { d: `M${x(0)} ${y(1)}V${y(0)}H${x(1)}`, fill: "none", stroke: "currentColor" });
        make(svg, "text", { x: x(0.5), y: height - 4, "text-anchor": "middle", fill: "currentColor" }).textContent =
          "belief p in each true child";
        make(svg, "text", {
          x: 0, y: 0, transform: `translate(12 ${y(0.5)}) rotate(-90)`, "text-anchor": "middle", fill: "currentColor",
        }).textContent = "message p′ to the true parent"; // prettier-ignore
        make(svg, "path", {
          d: own[i].map((_, draw) => line(table[i].map((row) => row[draw]))).join(""),
          fill: "none", stroke: "var(--hier-leaf)", "stroke-width": 0.6, "stroke-opacity": 0.16,
        }); // prettier-ignore
        make(svg, "path", { d: `M${x(0)} ${y(0)}L${x(1)} ${y(1)}`, stroke: "currentColor", "stroke-dasharray": "1 4" });
        const lines = make(svg, "g");
        lines.innerHTML = Live.legend(
          [["annealed map", "currentColor"], ["mean", "var(--hier-changed)", "7 5"], ["rule draws", "var(--hier-leaf)"]],
          14,
          { left: 20 },
        );
        const mean = (values) => values.reduce((a, b) => a + b, 0) / values.length;
        make(svg, "path", { d: line(grid.map((t) => Engine.meanfield.upwardMap(t, v, m, s))), fill: "none", stroke: "currentColor",
          "stroke-width": 2 }); // prettier-ignore
        make(svg, "path", { d: line(table[i].map(mean)), fill: "none", stroke: "var(--hier-changed)", "stroke-width": 2,
          "stroke-dasharray": "7 5" }); // prettier-ignore
        const here = Cloud.messages(p, v, s, own[i], all[i]);
        const average = mean(here);
        const spread = Math.sqrt(mean(here.map((t) => (t - average) ** 2)));
        const annealed = Engine.meanfield.upwardMap(p, v, m, s);
        make(svg, "path", { d: `M${x(p)} ${y(0)}V${y(1)}`, stroke: "currentColor", "stroke-opacity": 0.4 });
        make(svg, "path", {
          d: here.map((t) => `M${(x(p) - 6).toFixed(1)} ${y(t).toFixed(1)}h12`).join(""),
          stroke: "var(--hier-leaf)", "stroke-opacity": 0.35,
        }); // prettier-ignore
        outM.value = m;
        outP.value = p.toFixed(2);
        const words =
          `At p = ${p.toFixed(2)} the ${here.length} messages have mean ${average.toFixed(3)} and scatter by ` +
          `${spread.toFixed(3)}; the annealed value is ${annealed.toFixed(3)}.`;
        said.textContent = words;
        svg.setAttribute("aria-label", `m = ${m} rules per symbol. ${words}`);
      }
      controls.addEventListener("input", redraw);
      redraw();
      return redraw;
    },
    ["engine/engine", "engine/meanfield"],
  );
