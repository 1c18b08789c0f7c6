// The phase diagram of chapter 5, filled in point by point by workers: does the class survive, with so many rules, at that noise?
Live.figure(
  "phase-points",
  (stage) => {
    const lab = Laboratory;
    const $ = (selector) => stage.querySelector(selector);
    const inputs = Object.fromEntries([...stage.querySelectorAll("input[name]")].map((el) => [el.name, el]));
    const [picture, said, progress, go] = [".phase-picture", ".phase-said", ".phase-progress", ".phase-go"].map($);
    const [TALL, TOP, LEFT, RIGHT] = [226, 48, 44, 18];
    let { setting, asked } = lab.phasesFromAddress(location.search);
    let grid = lab.phaseGrid(setting);
    let found = []; // {at: [m, eps], kept, error}
    let job = null;
    let theory = null; // lines [m, eps]: that of any depth, and of L levels
    let pool = null; // the job that computes the latter for uneven rules
    let [waiting, due] = [0, false];
    let begun = asked; // the reader wants points, also of what is changed next

    function show() {
      for (const [name, input] of Object.entries(inputs)) {
        const [least, most] = lab.limits(name, setting);
        const [stops, value] = [name === "from" || name === "to" ? lab.stops(lab.limits("from", setting)[1]) : null, setting[name]];
        if (stops) Object.assign(input, { min: 0, max: stops.length - 1, value: stops.findIndex((m) => m >= value) });
        else Object.assign(input, { min: least, max: most, step: lab.stepOf(name), value });
        const words = name === "low" || name === "high" ? (value / 100).toFixed(2) : name === "a" ? lab.unevenness(value) : String(value);
        input.setAttribute("aria-valuetext", words);
        input.closest("label").querySelector("output").textContent = words;
      }
    }

    // The next setting: its points are empty, and filled in at once if the reader has begun.
    function take(wished) {
      setting = lab.settlePhases({ ...setting, ...wished });
      end(false);
      pool?.stop();
      [found, theory, pool, grid] = [[], null, null, lab.phaseGrid(setting)];
      remember();
      show();
      say("");
      clearTimeout(waiting);
      waiting = setTimeout(begun ? fill : measure, 250);
    }

    function remember() {
      try {
        history.replaceState(null, "", `${lab.joined(location.search, lab.phasesToAddress(setting))}${location.hash}`);
      } catch {
        // a browser that lets no file have another address
      }
    }

    function fill() {
      clearTimeout(waiting);
      begun = true;
      found = [];
      measure();
      go.textContent = "Stop";
      const { v, s, L, a, grammars } = setting;
      const workers = Math.min(4, navigator.hardwareConcurrency || 2);
      const report = ({ point, kept, error }) => {
        found.push({ at: grid.points[point], kept, error });
        soon();
      };
      const mine = (job = Engine.start("classPoints", { v, s, L, a, points: grid.points, grammars }, report, { workers }));
      Promise.all([mine.done, pool?.done]).then(
        ([whole]) => whole && mine === job && end(true),
        (error) => {
          if (mine !== job) return;
          end(false);
          say(`This cannot be computed: ${error.message}.`);
        },
      );
      say("");
    }

    function soon() {
      if (due) return;
      due = true;
      setTimeout(() => {
        due = false;
        draw();
      }, 60);
    }

    // The mean field of uneven rules, number by number; that of even ones is drawn at once.
    function measure() {
      if (!setting.a || pool) return;
      const { v, s, L, a } = setting;
      const half = (theory = { star: [], half: [] }).half;
      pool = Engine.start("halfHeights", { v, s, L, a, rules: grid.rules }, ({ m, eps }) => {
        half.push([m, eps]);
        soon();
      });
    }

    function end(whole) {
      clearTimeout(waiting);
      if (!job) return;
      const running = job;
      job = null;
      if (!whole) running.stop();
      go.textContent = "Fill in";
      found.sort((a, b) => a.at[0] - b.at[0] || a.at[1] - b.at[1]); // so that nothing depends on which worker was first
      say(lab.phaseWords(setting, grid, found, whole, new Map(setting.a ? theory.half : grid.rules.map((m) => [m, lab.halfHeight(m, setting)]))));
    }

    function say(words) {
      said.textContent = words;
      const row = (each) =>
        `<tr><th scope="row">${each.at[0]}</th><td>${each.at[1].toFixed(3)}</td><td>${each.kept.toFixed(3)} ± ${(2 * each.error).toFixed(3)}</td><td>${lab.fate(each, setting.v)}</td></tr>`;
      const heads = ["rules m", "noise ε", "probability kept", "class"].map((each) => `<th scope="col">${each}</th>`).join("");
      $(".lab-table").innerHTML =
        job || !found.length ? "" : `<table><thead><tr>${heads}</tr></thead><tbody>${found.map(row).join("")}</tbody></table>`;
      draw();
    }

    function lines() {
      const { v, s, from, to } = setting;
      const rules = Array.from({ length: 61 }, (_, k) => from + ((to - from) * k) / 60);
      return {
        star: rules.map((m) => [m, Engine.meanfield.criticalNoise(v, m, s)]),
        half: rules.map((m) => [m, lab.halfHeight(m, setting)]),
      };
    }

    function draw() {
      const width = picture.clientWidth;
      if (!width) return;
      theory ??= setting.a ? { star: [], half: [] } : lines();
      const { v, from, to, low, high, L, a } = setting;
      const inner = width - LEFT - RIGHT;
      const x = (m) => LEFT + 8 + (to > from ? ((m - from) / (to - from)) * (inner - 16) : (inner - 16) / 2);
      const y = (eps) => TOP + 8 + ((high / 100 - eps) / ((high - low) / 100)) * (TALL - 16);
      const line = (at) => at.map(([m, eps]) => `${x(m).toFixed(1)},${y(eps).toFixed(1)}`).join(" ");
      const point = (each) => {
        const what = lab.fate(each, v);
        const share = Math.max(0, (each.kept - 1 / v) / (1 - 1 / v));
        const fill = what === "lost" ? "none" : "var(--hier-class)";
        return `<circle data-fate="${what}" cx="${x(each.at[0]).toFixed(1)}" cy="${y(each.at[1]).toFixed(1)}" r="5" fill="${fill}" fill-opacity="${(0.15 + 0.85 * share).toFixed(2)}" stroke="${what === "lost" ? "var(--hier-muted)" : "var(--hier-class)"}"/>`;
      };
      const ticks = [...new Set([0, 1, 2, 3, 4].map((k) => Math.round(from + ((to - from) * k) / 4)))].map(
        (m) => `<path d="M${x(m)} ${TOP + TALL}v4" stroke="currentColor"/><text x="${x(m)}" y="${TOP + TALL + 17}" text-anchor="middle">${m}</text>`,
      );
      const rungs = [0, 1, 2, 3, 4].map((k) => low + ((high - low) * k) / 4).map(
        (eps) => `<path d="M${LEFT - 4} ${y(eps / 100)}h4" stroke="currentColor"/><text x="${LEFT - 7}" y="${y(eps / 100) + 4}" text-anchor="end">${+(eps / 100).toFixed(2)}</text>`,
      );
      picture.innerHTML =
        `<svg width="${width}" height="${TOP + TALL + 40}" font-size="12" fill="currentColor" aria-hidden="true">` +
        `<clipPath id="phase-inside"><rect x="${LEFT}" y="${TOP}" width="${inner}" height="${TALL}"/></clipPath>` +
        `<text x="2" y="14">noise ε</text><text x="${width - 4}" y="14" text-anchor="end">● kept ◐ trace ○ lost</text>` +
        Live.legend([...(a ? [] : [["ε*, any depth", "var(--hier-class)"]]), [`half lost, L = ${L}${a ? ", pool of beliefs" : ""}`, "currentColor", "4 4"]], 34, { right: width - 4 }) +
        `<path d="M${LEFT} ${TOP}v${TALL}h${inner}" fill="none" stroke="currentColor"/>` +
        `<g clip-path="url(#phase-inside)">${found.map(point).join("")}` +
        `<polyline points="${line(theory.star)}" fill="none" stroke="var(--hier-class)" stroke-width="2"/>` +
        `<polyline points="${line(theory.half)}" fill="none" stroke="currentColor" stroke-width="1.5" stroke-dasharray="4 4"/></g>` +
        `<text x="${LEFT + inner / 2}" y="${TOP + TALL + 34}" text-anchor="middle">rules per symbol m</text>${ticks.join("")}${rungs.join("")}</svg>`;
      progress.textContent = `${found.length} of ${grid.points.length}`;
    }

    stage.addEventListener("input", ({ target: { name, value } }) => {
      if (!name) return;
      const stops = name === "from" || name === "to" ? lab.stops(lab.limits("from", setting)[1]) : null;
      const wished = stops ? stops[+value] : +value;
      if (name === "from") take({ from: wished, to: Math.max(setting.to, wished) });
      else if (name === "to") take({ to: wished, from: Math.min(setting.from, wished) });
      else if (name === "low") take({ low: wished, high: Math.max(setting.high, wished + 5) });
      else if (name === "high") take({ high: Math.max(5, wished), low: Math.min(setting.low, Math.max(0, wished - 5)) });
      else take({ [name]: wished });
    });
    go.addEventListener("click", () => {
      if (job) return end(false);
      remember();
      fill();
    });
    $(".phase-csv").addEventListener("click", () => {
      if (job || !found.length) return;
      const url = URL.createObjectURL(new Blob([lab.phaseCsv(setting, found)], { type: "text/csv" }));
      Object.assign(document.createElement("a"), { href: url, download: "phase-points.csv" }).click();
      setTimeout(() => URL.revokeObjectURL(url), 10_000);
    });
    show();
    draw();
    if (asked) fill();
    else measure();
    return draw;
  },
  [...Live.engine, "laboratory/setting", "laboratory/phases"],
);
