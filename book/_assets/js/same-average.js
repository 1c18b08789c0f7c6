// Three trees of equal mean leaf belief: histograms of leaf beliefs, and the posterior as strata, class on top.
// Data: {s, L, eps: [...], start, colours, bins, trees: [{histogram, cells, kept}]}; cells[i] is one base64 digit a
// node (0 to 63: the belief in the truth), root first, level by level.
Live.figure("same-average", (stage, data) => {
  const NAMES = ["all leaves alike", "Gaussian", "masks"];
  const DIGITS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  const leaves = data.s ** data.L;
  let at = data.start;
  const row = document.createElement("div");
  row.style.cssText = "display:grid;grid-template-columns:repeat(3,minmax(0,1fr));gap:clamp(8px,2vw,22px)";
  const columns = NAMES.map((name, k) => {
    const box = document.createElement("div");
    const title = Object.assign(document.createElement("div"), { textContent: name });
    title.style.cssText = "font-weight:600;line-height:1.25;min-height:2.5em;display:flex;align-items:end";
    const histogram = document.createElement("canvas");
    histogram.setAttribute("role", "img");
    const axis = document.createElement("div");
    axis.style.cssText = "display:flex;justify-content:space-between;font-size:.8rem;color:var(--hier-muted)";
    axis.innerHTML = "<span>0</span><span>leaf belief</span><span>1</span>";
    const [bars, rows] = ["share of the leaves", "class on top, leaves below"].map((words) => {
      const line = Object.assign(document.createElement("div"), { textContent: words });
      line.style.cssText = "font-size:.8rem;line-height:1.25;color:var(--hier-muted)";
      return line;
    });
    const strata = document.createElement("canvas");
    strata.style.marginTop = "6px";
    strata.setAttribute("role", "img");
    const kept = document.createElement("div");
    kept.style.cssText = "margin-top:4px;font-variant-numeric:tabular-nums";
    box.append(title, bars, histogram, axis, rows, strata, kept);
    row.append(box);
    return { histogram, strata, kept, tree: data.trees[k], name };
  });
  stage.append(row);

  const controls = document.createElement("div");
  controls.className = "live-controls";
  const label = document.createElement("label");
  label.className = "live-range";
  const input = document.createElement("input");
  Object.assign(input, { type: "range", min: 0, max: data.eps.length - 1, step: 1, value: at });
  const out = document.createElement("output");
  label.append(Object.assign(document.createElement("span"), { textContent: "mean belief missing, ε(t)" }), out, input);
  controls.append(label);
  stage.append(controls);
  input.addEventListener("input", () => {
    at = +input.value;
    redraw();
  });

  function prepare(canvas, height) {
    const ratio = devicePixelRatio || 1;
    const width = canvas.clientWidth || 100;
    canvas.width = Math.round(width * ratio);
    canvas.height = Math.round(height * ratio);
    canvas.style.height = `${height}px`;
    const pen = canvas.getContext("2d");
    pen.scale(ratio, ratio);
    return [pen, width];
  }

  function redraw() {
    out.textContent = data.eps[at].toFixed(1);
    input.setAttribute("aria-valuetext", out.textContent);
    for (const { histogram, strata, kept, tree, name } of columns) {
      const [pen, width] = prepare(histogram, 70);
      pen.fillStyle = Live.colour("--hier-line");
      pen.fillRect(0, 69, width, 1);
      pen.fillStyle = data.colours[0];
      tree.histogram[at].forEach((share, i) => {
        const bar = width / data.bins;
        pen.fillRect(i * bar + 0.5, 69 - share * 68, bar - 1, share * 68);
      });
      const top = tree.histogram[at].indexOf(Math.max(...tree.histogram[at]));
      const range = [top, top + 1].map((i) => (i / data.bins).toFixed(2)).join(" to ");
      histogram.setAttribute("aria-label", `Histogram of leaf beliefs, ${name}; most are between ${range}`);
      const rows = data.L + 1;
      const high = 14;
      const [brush, wide] = prepare(strata, rows * high);
      let node = 0;
      for (let r = 0; r < rows; r++) {
        const level = data.L - r;
        const number = data.s ** r;
        brush.fillStyle = Live.colour("--hier-erased");
        brush.globalAlpha = 1;
        brush.fillRect(0, r * high, wide, high - 2);
        brush.fillStyle = data.colours[level];
        // More nodes than pixels: one cell a pixel, its strength the mean belief.
        const cells = Math.min(number, Math.round(wide));
        for (let c = 0; c < cells; c++) {
          const from = Math.floor((c * number) / cells);
          const to = Math.max(from + 1, Math.floor(((c + 1) * number) / cells));
          let sum = 0;
          for (let i = from; i < to; i++) sum += DIGITS.indexOf(tree.cells[at][node + i]);
          brush.globalAlpha = sum / (to - from) / 63;
          brush.fillRect((c * wide) / cells, r * high, wide / cells + 0.3, high - 2);
        }
        node += number;
      }
      kept.textContent = `class ${tree.kept[at].toFixed(2)}`;
      strata.setAttribute("aria-label", `${name}: posterior of the true class ${tree.kept[at].toFixed(2)}, of ${leaves} leaves`);
    }
  }
  redraw();
  return redraw;
});
