// One U-turn of one datum (strata, the class on top) beside the curves of all levels: one slider moves both.
Live.figure("level-curves", (stage, data) => {
  const slider = stage.querySelector("input");
  const say = stage.querySelector("output");
  const picture = stage.querySelector(".level-picture");
  const runs = data.kept.map(Live.bytes);
  const L = data.colours.length - 1;
  const ROW = 13;
  const GAP = 2;
  const PLOT = 194;
  const [lo, hi] = [Math.log(data.t[0]), Math.log(data.t.at(-1))];
  const percent = (p) => `${(100 * p).toFixed(p > 0.1 ? 0 : 1)} %`;

  // One path for the kept cells of a row: a run of neighbours is one rectangle.
  function cells(bits, first, n, left, width, top) {
    let path = "";
    for (let k = 0, from = -1; k <= n; k++) {
      const on = k < n && (bits[(first + k) >> 3] >> (7 - ((first + k) & 7))) & 1;
      if (on && from < 0) from = k;
      if (!on && from >= 0) {
        path += `M${(left + (from / n) * width).toFixed(1)} ${top}h${(((k - from) / n) * width).toFixed(1)}`;
        path += `v${ROW - GAP}h${(-((k - from) / n) * width).toFixed(1)}z`;
        from = -1;
      }
    }
    return path;
  }

  function draw() {
    const i = +slider.value;
    const width = stage.clientWidth;
    if (!width) return;
    const left = 44;
    const inner = width - left - 11;
    const base = (L + 1) * ROW + 26; // where the plot begins
    const x = (t) => left + ((Math.log(t) - lo) / (hi - lo)) * inner;
    const y = (p) => base + (1 - p) * PLOT;
    let rows = "";
    for (let row = 0, first = 0, n = 1; row <= L; row++, first += n, n *= data.s) {
      const top = row * ROW;
      rows += `<rect x="${left}" y="${top}" width="${inner}" height="${ROW - GAP}" fill="var(--hier-erased)"/>`;
      rows += `<path d="${cells(runs[i], first, n, left, inner, top)}" fill="${data.colours[L - row]}"/>`;
    }
    const names = [["class", 0.5], ["leaves", L + 0.5]].map(
      ([name, row]) => `<text x="${left - 5}" y="${row * ROW + 4}" text-anchor="end">${name}</text>`,
    );
    const curve = (l) => data.curve_t.map((t, k) => `${x(t).toFixed(1)},${y(data.P[l][k]).toFixed(1)}`).join(" ");
    const lines = data.colours.map(
      (colour, l) =>
        `<polyline points="${curve(l)}" fill="none" stroke="${colour}" stroke-width="${1.2 + (1.2 * l) / L}"/>`,
    );
    const at = x(data.t[i]);
    const dots = [0, L].map((l) => `<circle cx="${at}" cy="${y(data.now[l][i])}" r="4.5" fill="${data.colours[l]}"/>`);
    const grid = [0, 0.5, 1].map(
      (p) => `<text x="${left - 7}" y="${y(p) + 4}" text-anchor="end">${p}</text>` +
        `<path d="M${left - 4} ${y(p)}h4" stroke="currentColor"/>`,
    );
    const wide = data.ticks.filter((_, k) => width > 460 || k % 2 === 0);
    const ticks = wide.map(
      (t) => `<path d="M${x(t)} ${base + PLOT}v4" stroke="currentColor"/>` +
        `<text x="${x(t)}" y="${base + PLOT + 17}" text-anchor="middle">${t}</text>`,
    );
    picture.innerHTML =
      `<svg width="${width}" height="${base + PLOT + 40}" font-size="12" fill="currentColor" aria-hidden="true">` +
      rows + names.join("") + lines.join("") +
      `<path d="M${left} ${base}v${PLOT}h${inner}" fill="none" stroke="currentColor"/>` +
      `<path d="M${at} ${base}v${PLOT}" stroke="currentColor" stroke-dasharray="3 3"/>` +
      `<text x="${left}" y="${base - 9}">probability kept</text>` +
      `<text x="${left + inner / 2}" y="${base + PLOT + 34}" text-anchor="middle">noise t</text>` +
      Live.legend([["class", data.colours[L]], ["leaves", data.colours[0]]], base - 9, { right: left + inner }) +
      dots.join("") + grid.join("") + ticks.join("") + "</svg>";
    const fate = runs[i][0] & 128 ? "kept" : "changed";
    const text =
      `Noise t = ${data.t[i]}, ${percent(data.alpha_bar[i])} of the signal: on average class kept ${percent(data.now[L][i])}, ` +
      `leaves kept ${percent(data.now[0][i])}; in this run the class is ${fate}`;
    say.textContent = text;
    slider.setAttribute("aria-valuetext", text);
  }

  slider.addEventListener("input", draw);
  draw();
  return draw;
});
