// U-turns on a small grammar, exact and live: a drawn datum, Gaussian noise, belief propagation, and ways back.
// Data: the grammar as the engine takes it, with colours, inks, {t: the stops of the slider, start, ticks}.
const SmallGrammar = (() => {
  const numbers = (which, use) => new Engine.Generator(which, use);

  // Datum number `which`, with its latent symbols.
  const datum = (g, which) => Engine.sample(g, 1, { generator: numbers(which, 1) });

  // What is seen of it at time t, with the same noise η at every t, and what is then known: evidence and beliefs.
  function look(g, x, which, t) {
    const noise = new Engine.GaussianNoise(g.v, { dtype: "float64" });
    const seen = noise.corrupt(x[0], t, { generator: numbers(which, 2) });
    const evidence = noise.evidence(seen, t);
    return { seen, evidence, beliefs: Engine.infer(g, evidence) };
  }

  // Ways back. Their random numbers are the same at every t: only what has to change does.
  const back = (g, x, which, evidence, runs) =>
    Engine.posteriorSample(g, evidence, { numSamples: runs, generator: numbers(which, 3), first: x });

  // How many symbols of each level are the same.
  const same = (x, y) =>
    x.map((nodes, l) => {
      let n = 0;
      for (let i = 0; i < nodes.length; i++) n += nodes[i] === y[l][i];
      return n;
    });

  return { datum, look, back, same };
})();
if (typeof module !== "undefined") module.exports = SmallGrammar;

if (typeof Live !== "undefined")
  Live.figure(
    "small-grammar",
    (stage, g) => {
      const { datum, look, back, same } = SmallGrammar;
      const grammar = new Engine.Grammar(g);
      const $ = (selector) => stage.querySelector(selector);
      const [slider, picture, said] = [$("input"), $(".grammar-picture"), $(".grammar-said")];
      const MOST = 1000; // ways back that are kept: the standard error is then below .016
      const ROW = 46; // of which the beliefs have BAND and the way back CELL
      const BAND = 9;
      const CELL = 24;
      const PLOT = 116;
      const levels = g.colours.map((_, l) => l).reverse(); // the class on top
      const name = (l) => (l === 0 ? "leaves" : l === g.L ? "class" : `level ${l}`);
      const [low, high] = [Math.log(g.t[0]), Math.log(g.t.at(-1))];
      let number = 0; // which datum
      let x, curves;
      let runs = 1; // ways back so far; the last is shown

      // A datum, its noise, and what belief propagation says of it at every stop of the slider.
      function draw() {
        x = datum(grammar, number);
        curves = g.t.map((t) => {
          const { evidence, beliefs } = look(grammar, x, number, t);
          return { evidence, marginals: beliefs.rows("marginals"), truth: Engine.overlap(beliefs, x) };
        });
      }

      // All ways back at this noise, how much they keep of each level, and the last.
      function ways(evidence) {
        const all = back(grammar, x, number, evidence, runs);
        const run = (k) => all.map((nodes, l) => nodes.subarray(k * x[l].length, (k + 1) * x[l].length));
        const kept = x.map(() => 0);
        for (let k = 0; k < runs; k++) same(x, run(k)).forEach((n, l) => (kept[l] += n));
        return { y: run(runs - 1), kept: kept.map((n, l) => n / runs / x[l].length), times: kept[g.L] };
      }

      // One level: a band of the beliefs in the truth, and below it the way back.
      function row(l, top, left, width, { marginals }, y) {
        const n = x[l].length;
        const cell = width / n;
        const gap = Math.min(2, cell / 6);
        let out = `<rect x="${left}" y="${top}" width="${width}" height="${BAND}" fill="var(--hier-erased)"/>`;
        x[l].forEach((truth, i) => {
          const at = left + i * cell + gap / 2;
          const wide = cell - gap;
          const belief = marginals[l][i][truth];
          const box = (dy, tall, rest) =>
            `<rect x="${at.toFixed(1)}" y="${top + dy}" width="${wide.toFixed(1)}" height="${tall}" ${rest}/>`;
          out += box(0, BAND, `fill="${g.colours[l]}" fill-opacity="${belief.toFixed(3)}"`);
          const kept = y[l][i] === truth;
          const [first, middle] = [BAND + 3, top + BAND + 3 + CELL / 2];
          const centre = at + wide / 2;
          const digit = cell >= 14 && `font-size="${Math.min(14, cell * 0.62)}" text-anchor="middle"`;
          if (kept) {
            out += box(first, CELL, `fill="${g.colours[l]}"`);
            if (digit) out += `<text x="${centre}" y="${middle + 5}" ${digit} fill="${g.inks[l]}">${truth}</text>`;
            return;
          }
          const line = Math.min(1.8, cell / 4);
          out += `<rect x="${(at + line / 2).toFixed(1)}" y="${top + first + line / 2}" width="${(wide - line).toFixed(1)}"
            height="${CELL - line}" fill="var(--hier-paper)" stroke="var(--hier-changed)" stroke-width="${line}"/>`;
          if (digit) out += `<text x="${centre}" y="${middle + 5}" ${digit} fill="currentColor">${y[l][i]}</text>`;
          const arm = digit ? 2.6 : Math.min(2.6, wide / 2 - line);
          const [cx, cy] = digit ? [at + wide - 5.5, top + first + 5.5] : [centre, middle];
          if (arm > 0.7)
            out += `<path d="M${cx - arm} ${cy - arm}l${2 * arm} ${2 * arm}m0 ${-2 * arm}l${-2 * arm} ${2 * arm}"
              stroke="var(--hier-changed)" stroke-width="1.3"/>`;
        });
        const changed = n - same(x, y)[l];
        out += `<text x="${left - 8}" y="${top + 14}" text-anchor="end">${name(l)}</text>`;
        out += `<text x="${left - 8}" y="${top + 30}" text-anchor="end" fill="var(--hier-muted)">${changed ? "×" : ""} ${changed}/${n}</text>`;
        return out;
      }

      // Every level against the noise: lines are belief propagation, diamonds the ways back.
      function plot(base, left, width, i, kept) {
        const at = (t) => left + ((Math.log(t) - low) / (high - low)) * width;
        const y = (p) => base + (1 - p) * PLOT;
        const here = at(g.t[i]);
        let out = `<path d="M${left} ${base}v${PLOT}h${width}" fill="none" stroke="currentColor"/>`;
        out += `<text x="${left}" y="${base - 8}">probability kept (◇ ways back)</text>`;
        out += `<text x="${left}" y="${base + PLOT + 34}">noise t</text>`;
        out += Live.legend([["class", g.colours[g.L]], ["leaves", g.colours[0]]], base + PLOT + 34, { right: left + width });
        for (const p of [0, 0.5, 1])
          out += `<text x="${left - 8}" y="${y(p) + 4}" text-anchor="end">${p}</text><path d="M${left - 4} ${y(p)}h4" stroke="currentColor"/>`;
        g.ticks.forEach((t, k) => {
          if (width < 420 && k % 2) return;
          out += `<path d="M${at(t)} ${base + PLOT}v4" stroke="currentColor"/>`;
          out += `<text x="${at(t)}" y="${base + PLOT + 19}" text-anchor="middle">${t}</text>`;
        });
        out += `<path d="M${here} ${base}v${PLOT}" stroke="currentColor" stroke-dasharray="3 3" stroke-opacity="0.6"/>`;
        g.colours.forEach((colour, l) => {
          const line = g.t.map((t, k) => `${at(t).toFixed(1)},${y(curves[k].truth[l]).toFixed(1)}`).join(" ");
          out += `<polyline points="${line}" fill="none" stroke="${colour}" stroke-width="${1.2 + (1.2 * l) / g.L}"/>`;
        });
        g.colours.forEach((colour, l) => {
          out += `<path d="M${here} ${y(kept[l]) - 6}l6 6l-6 6l-6 -6z" fill="var(--hier-paper)" stroke="${colour}" stroke-width="2"/>`;
        });
        return out;
      }

      function redraw() {
        const width = stage.clientWidth;
        if (!width) return;
        const i = +slider.value;
        const [t, now] = [g.t[i], curves[i]];
        const { y, kept, times } = ways(now.evidence);
        const [left, right] = [58, 11];
        const inner = width - left - right;
        const base = (g.L + 1) * ROW + 24;
        picture.innerHTML =
          `<svg width="${width}" height="${base + PLOT + 38}" font-size="12.5" fill="currentColor" aria-hidden="true">` +
          levels.map((l, k) => row(l, k * ROW, left, inner, now, y)).join("") +
          plot(base, left, inner, i, kept) +
          "</svg>";
        const p = now.truth[g.L];
        const error = 2 * Math.sqrt((p * (1 - p)) / runs);
        stage.style.setProperty("--fraction", kept[g.L]);
        stage.style.setProperty("--belief", p);
        const many = runs === 1 ? "1 way back" : `${runs} ways back`;
        $(".grammar-count").textContent = `${times} of ${many}`;
        $(".grammar-belief").textContent = p.toFixed(3);
        $(".grammar-noise").textContent = `t = ${t}, ${Math.round(100 * Math.exp(-2 * t))} % of the signal`;
        slider.setAttribute("aria-valuetext", $(".grammar-noise").textContent);
        const changed = levels
          .slice(1)
          .map((l) => `${x[l].length - same(x, y)[l]} of ${x[l].length} ${l ? `at ${name(l)}` : "leaves"}`);
        const fate = y[g.L][0] === x[g.L][0] ? `keeps the class, ${x[g.L][0]}` : `turns class ${x[g.L][0]} into ${y[g.L][0]}`;
        said.textContent =
          `This way back ${fate}, and changes ${changed.join(", ")}. ` +
          `Over ${many} the class is kept with frequency ${kept[g.L].toFixed(3)}; belief propagation says ${p.toFixed(3)}` +
          (runs > 1 ? `, and two standard errors are ${error.toFixed(3)}.` : ".");
        $(".grammar-more").disabled = $(".grammar-next").disabled = runs >= MOST;
      }

      const press = (selector, action) =>
        $(selector).addEventListener("click", () => {
          action();
          redraw();
        });
      press(".grammar-next", () => (runs = Math.min(MOST, runs + 1)));
      press(".grammar-more", () => (runs = Math.min(MOST, runs + 100)));
      press(".grammar-datum", () => {
        number++;
        runs = 1;
        draw();
      });
      slider.addEventListener("input", redraw);
      draw();
      redraw();
      return redraw;
    },
    Live.engine,
  );
