// Upward message, downward message and posterior at the true symbol, node by node; sliders for m and the level.
// Data: {m: [...], L, colours, start: [index of m, level], and for each m and level: points [3][nodes],
// sd [3], mean [3], theory [3]}, the three being up, down, marginal.
Live.figure("messages-at-truth", (stage, data) => {
  const KINDS = [
    ["▲", "upward"],
    ["▼", "downward"],
    ["◆", "posterior"],
  ];
  const SVG = "http://www.w3.org/2000/svg";
  const draw = (tag, attributes, parent, text = "") => {
    const el = document.createElementNS(SVG, tag);
    for (const [key, value] of Object.entries(attributes)) el.setAttribute(key, value);
    el.textContent = text;
    return parent.appendChild(el);
  };
  const svg = draw("svg", { role: "img" }, stage);
  const controls = document.createElement("div");
  controls.className = "live-controls";
  stage.append(controls);
  let [which, level] = data.start;

  function slider(label, max, value, say, act) {
    const box = document.createElement("label");
    box.className = "live-range";
    const input = Object.assign(document.createElement("input"), { type: "range", min: 0, max, step: 1, value });
    const out = document.createElement("output");
    box.append(Object.assign(document.createElement("span"), { textContent: label }), out, input);
    const show = () => {
      out.textContent = say(+input.value);
      input.setAttribute("aria-valuetext", out.textContent);
    };
    input.addEventListener("input", () => {
      act(+input.value);
      show();
      redraw();
    });
    controls.append(box);
    show();
  }

  function redraw() {
    const width = stage.clientWidth;
    const height = Math.round(Math.min(340, Math.max(236, width * 0.48)));
    const pad = { left: 34, right: 4, top: 62, bottom: 24, gap: width < 480 ? 10 : 22 };
    const column = (width - pad.left - pad.right - 2 * pad.gap) / 3;
    const y = (belief) => pad.top + (1 - belief) * (height - pad.top - pad.bottom);
    svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
    svg.style.height = `${height}px`;
    svg.replaceChildren();
    const text = { fill: "var(--hier-ink)", "font-size": 13, "font-family": "var(--hier-sans)" };
    for (const [value, name] of [[0, "0"], [1 / 3, "⅓"], [1 / 2, "½"], [1, "1"]]) {
      draw("line", { x1: pad.left, x2: width - pad.right, y1: y(value), y2: y(value), stroke: "var(--hier-line)" }, svg);
      draw("text", { ...text, x: pad.left - 8, y: y(value) + 4.5, "text-anchor": "end" }, svg, name);
    }
    draw("text", { ...text, x: pad.left, y: 13 }, svg, "belief in the true symbol (line: the mean field)");
    draw("text", { ...text, x: width / 2, y: height - 6, "text-anchor": "middle" }, svg, "each point one node of the level");
    const sd = data.sd[which][level];
    KINDS.forEach(([mark, name], k) => {
      const left = pad.left + k * (column + pad.gap);
      const points = data.points[which][level][k];
      const dots = points.map((p, i) => `M${(left + ((i + 0.5) / points.length) * column).toFixed(1)} ${y(p).toFixed(1)}h0`);
      draw("text", { ...text, x: left, y: 33, "font-weight": 600 }, svg, `${mark} ${name}`);
      draw("text", { ...text, x: left, y: 50 }, svg, `sd ${sd[k].toFixed(3)}`);
      draw(
        "path",
        { d: dots.join(""), stroke: data.colours[level], "stroke-width": 4.5, "stroke-linecap": "round", fill: "none" },
        svg,
      );
      const theory = y(data.theory[which][level][k]);
      draw("line", { x1: left, x2: left + column, y1: theory, y2: theory, stroke: "var(--hier-ink)", "stroke-width": 1.8 }, svg);
    });
    svg.setAttribute(
      "aria-label",
      `m = ${data.m[which]}, level ${level}: standard deviation over nodes ` +
        KINDS.map(([, name], k) => `${name} ${sd[k].toFixed(3)}`).join(", "),
    );
  }

  slider("rules per symbol m", data.m.length - 1, which, (i) => data.m[i], (i) => (which = i));
  slider("level, 0 = leaves", data.L - 1, level, (i) => i, (i) => (level = i));
  redraw();
  return redraw;
});
