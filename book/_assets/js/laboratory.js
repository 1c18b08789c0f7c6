// The laboratory: level curves of the reader's own grammars, inferred by workers while the reader looks on.
// Data: {palettes: by L, from 1 on, the colours of the levels}. What it can be set to, js/laboratory/setting.js says.
Live.figure(
  "laboratory",
  (stage, { palettes }) => {
    const lab = Laboratory;
    const $ = (selector) => stage.querySelector(selector);
    const inputs = Object.fromEntries([...stage.querySelectorAll("input[name], select[name]")].map((el) => [el.name, el]));
    const [picture, said, progress] = [".lab-picture", ".lab-said", ".lab-progress"].map($);
    let setting = lab.FIRST;
    let state = null; // of the run: {setting, t, pieces, found, theory, jobs, failed}
    let waiting = 0; // for the reader's hand to rest

    const info = () => lab.NOISES[setting.noise];
    const near = (z) => (z === null ? "—" : z > 0.99 && z < 1 ? z.toFixed(4) : z.toPrecision(3));
    const percent = (p) => `${(100 * p).toFixed(1)} %`;
    const withEnds = ({ value, lo, hi }) => near(value) + (lo === null ? "" : ` [${near(lo)}, ${near(hi)}]`);

    // Sliders and lists show a setting; the slider of m has stops of its own.
    function show() {
      for (const [name, limits] of Object.entries(lab.LIMITS)) {
        const [input, [least, most]] = [inputs[name], limits(setting)];
        if (!input) continue;
        if (name === "m") {
          const stops = lab.stops(most, setting.m);
          const k = stops.findIndex((m) => m >= setting.m);
          Object.assign(input, { min: 0, max: stops.length - 1, value: k });
        } else Object.assign(input, { min: least, max: most, step: lab.stepOf(name), value: setting[name] });
        const words = name === "m" ? `${setting.m} of ${most}` : name === "a" ? lab.unevenness(setting.a) : setting[name];
        input.setAttribute("aria-valuetext", words);
        input.closest("label").querySelector("output").textContent = words;
      }
      inputs.noise.value = setting.noise;
      const preset = Object.entries(lab.PRESETS).find(([, each]) => lab.toAddress(each) === lab.toAddress(setting));
      inputs.preset.value = preset ? preset[0] : "";
      $(".lab-python code").textContent = lab.python(setting);
    }

    // Take another setting, and compute it once the hand rests.
    function take(wished, wait = 200) {
      const { setting: next, said: why } = lab.settle({ ...setting, ...wished });
      setting = next;
      show();
      stop();
      clearTimeout(waiting);
      waiting = setTimeout(() => run(why), wait);
    }

    function stop() {
      clearTimeout(waiting);
      state?.jobs?.forEach((job) => job.stop());
    }

    // The mean field of even rules, at once; a pool of beliefs comes from a worker.
    function theory() {
      if (setting.noise !== "EpsilonNoise" || setting.a) return null;
      const { v, m, s, L } = setting;
      const t = Array.from({ length: 181 }, (_, k) => Math.sin((Math.PI / 360) * k) ** 2); // dense where few rules lose it
      const all = t.map((eps) => Engine.meanfield.solve(eps, v, m, s, L).P);
      const top = all.map((P) => P[L]);
      return { t, top, leaves: all.map((P) => P[0]), half: lab.falls(t, top, (1 + 1 / v) / 2, false), star: Engine.meanfield.criticalNoise(v, m, s), words: "mean field" };
    }

    // Of the ε-process with uneven rules a pool has one number each, and comes down again; of other noises one number a symbol.
    function pool(here) {
      const { noise, a, L, v } = here.setting;
      if (noise === "EpsilonNoise" && !a) return [];
      const t = noise === "EpsilonNoise" ? here.t : here.t.filter((_, k) => k % 2 === 0); // a symbol each takes longer
      const [name, options] = noise === "EpsilonNoise" ? ["meanField", { eps: t }] : ["classCurve", { t }];
      let [top, leaves] = [[], null];
      const report = ({ point, marginal, kept }) => {
        if (kept) return (top = kept);
        leaves ??= [];
        [top[point], leaves[point]] = [marginal[L], marginal[0]];
      };
      const job = Engine.start(name, { ...here.setting, ...options }, report);
      job.done = job.done.then((whole) => {
        if (!whole) return false;
        here.theory = { t, top, leaves, half: lab.falls(t, top, (1 + 1 / v) / 2, lab.NOISES[noise].log), words: "pool" };
        if (here === state) draw();
        return true;
      });
      return [job];
    }

    function run(why) {
      const here = (state = { setting, t: lab.grid(setting.noise), pieces: [], found: null, why });
      try {
        history.replaceState(null, "", `${lab.joined(location.search, setting)}${location.hash}`);
      } catch {
        // a browser that lets no file have another address
      }
      here.theory = theory();
      stage.classList.add("lab-busy");
      const options = { ...setting, t: here.t };
      const workers = Math.min(4, navigator.hardwareConcurrency || 2, setting.grammars);
      let due = false;
      const report = (piece) => {
        here.pieces.push(piece);
        if (due || here !== state) return;
        due = true;
        setTimeout(() => {
          due = false;
          if (here === state && !here.ended) partly(here);
        }, 120);
      };
      here.jobs = [Engine.start("levelCurves", options, report, { workers }), ...pool(here)];
      Promise.all(here.jobs.map((job) => job.done)).then(
        ([whole]) => end(here, whole),
        (error) => {
          here.failed = error.message;
          end(here, false);
        },
      );
      partly(here);
    }

    function partly(here) {
      here.found = { t: here.t, ...lab.summary(here.pieces, here.setting.L, here.t.length) };
      progress.textContent = `${here.pieces.length} of ${here.setting.grammars}`;
      draw();
    }

    function end(here, whole) {
      here.ended = true;
      here.pieces.sort((a, b) => a.grammar - b.grammar); // so that no interval depends on which worker was first
      const parts = here.pieces.length ? lab.resultsInParts(here.setting, here.t, here.pieces, lab.NOISES[here.setting.noise].log) : null;
      const go = () => {
        if (here !== state) return;
        const part = parts?.next();
        if (part && !part.done) return setTimeout(go); // the page is the reader's in between
        if (part) here.found = part.value;
        tell(here, whole);
      };
      go();
    }

    function tell(here, whole) {
      stage.classList.remove("lab-busy");
      progress.textContent = `${here.pieces.length} of ${here.setting.grammars}${whole ? "" : ", stopped"}`;
      said.textContent = here.failed ? `This cannot be computed: ${here.failed}.` : words(here, whole);
      table(here);
      draw();
    }

    // The result in words.
    function words({ setting: { v, m, s, L, a, noise }, found, theory: line, why }, whole) {
      const { n, top, cross, best, lead, mean, t } = found ?? {};
      if (!n) return "Stopped before the first grammar was done.";
      const all = [...why, whole ? "" : "Stopped early."];
      const symbol = noise === "EpsilonNoise" ? "ε" : "t";
      if (top.value === null)
        all.push(mean[L][0] < (1 + 1 / v) / 2 ? "The class is lost at every noise shown." : "The class is not half lost at any noise shown.");
      else all.push(`The class is half lost at ${symbol} = ${withEnds(top)}${noise !== "GaussianNoise" && top.value > 0.99 ? ", when next to nothing is seen" : ""}.`);
      const ahead = `by ${percent(lead.value)} ± ${percent(lead.half)} at most`;
      const told = lead.value >= lab.LEAD && lead.value >= lead.half;
      if (lead.value < lab.LEAD && lead.most < 10 * lab.LEAD)
        all.push("The class is never kept better than the leaves: the order of the levels does not invert.");
      else if (!told) {
        const seen = n > 1 ? ` (in their means ${lead.value < lab.LEAD ? "never" : ahead})` : "";
        all.push(`Whether the class is ever kept better than the leaves these data do not tell${seen}: more grammars, or more data of each, would.`);
      } else if (cross.value === null) all.push(`The class is kept better than the leaves, ${ahead}.`);
      else all.push(`Up to ${symbol} = ${withEnds(cross)} the class is kept better than the leaves, ${ahead}; then the leaves outlive it.`);
      if (best && (told || cross.value === null)) {
        const name = best.level ? (best.level === L ? "the class" : `level ${best.level}`) : "the leaves";
        all.push(`${cross.value === null ? "At half height" : "There"} the best-kept level is ${name}, with ${percent(best.kept)}.`);
      }
      if (noise === "EpsilonNoise" && !a) {
        const star = Engine.meanfield.criticalNoise(v, m, s);
        const most = near(Engine.meanfield.m_c(v, s));
        if (line?.half) all.push(`The mean field of ${L} levels loses half of it at ε = ${near(line.half)}.`);
        all.push(`An infinite tree loses its class at ${star > 0 ? `ε* = ${near(star)}, and` : "any noise, as it does"} from m_c = ${most} rules on${star > 0 ? " at any noise" : ""}.`);
        return all.filter(Boolean).join(" ") + ` Means over ${n} grammars, at ${t.length} noises.`;
      }
      const whose = noise === "EpsilonNoise" ? "the mean field of uneven rules" : "drawn with fresh rules at every node";
      if (line?.half) all.push(`The pool of beliefs, ${whose}, loses half of it at ${symbol} = ${near(line.half)}.`);
      return all.filter(Boolean).join(" ") + ` Means over ${n} grammars, at ${t.length} noises.`;
    }

    function table({ found, setting: { L } }) {
      const levels = [...new Set([L, Math.floor(L / 2), 0])];
      const name = (l) => (l === L ? "class" : l ? `level ${l}` : "leaves");
      const cell = (l, k) => `<td>${found.mean[l][k].toFixed(3)}${found.n > 1 ? ` ± ${found.half[l][k].toFixed(3)}` : ""}</td>`;
      const row = (z, k) => `<tr><th scope="row">${near(z)}</th>${levels.map((l) => cell(l, k)).join("")}</tr>`;
      const heads = ["noise", ...levels.map(name)].map((each) => `<th scope="col">${each}</th>`).join("");
      $(".lab-table").innerHTML = found?.n ? `<table><thead><tr>${heads}</tr></thead><tbody>${found.t.map(row).join("")}</tbody></table>` : "";
    }

    function draw() {
      const width = picture.clientWidth;
      if (!width || !state?.found) return;
      const { noise, L } = state.setting;
      picture.innerHTML = lab.picture({ width, found: state.found, colours: palettes[L - 1], theory: state.theory,
        log: lab.NOISES[noise].log ?? false, axis: lab.NOISES[noise].axis }); // prettier-ignore
    }

    function save(kind) {
      if (!state?.found?.n || !state.found.top) return; // they are not all there
      const text = kind === "csv" ? lab.csv(state.setting, state.found) : lab.json(state.setting, state.found);
      const url = URL.createObjectURL(new Blob([text], { type: kind === "csv" ? "text/csv" : "application/json" }));
      Object.assign(document.createElement("a"), { href: url, download: `level-curves.${kind}` }).click();
      setTimeout(() => URL.revokeObjectURL(url), 10_000);
    }

    const choose = (select, entries) => select.replaceChildren(...entries.map(([value, text]) => new Option(text, value)));
    choose(inputs.noise, Object.entries(lab.NOISES).map(([name, { words: text }]) => [name, text]));
    choose(inputs.preset, [["", "your own"], ...Object.keys(lab.PRESETS).map((name) => [name, name])]);
    stage.addEventListener("input", ({ target: { name, value } }) => {
      if (name === "preset") {
        if (value) take(lab.PRESETS[value]);
      } else if (name === "m") take({ m: lab.stops(lab.LIMITS.m(setting)[1], setting.m)[+value] });
      else if (name === "noise") take({ noise: value });
      else if (name) {
        const limited = { ...setting, [name]: +value }; // what else must follow is silent: the reader sees it move
        for (const [other, limits] of Object.entries(lab.LIMITS)) limited[other] = Math.min(limits(limited)[1], limited[other]);
        take(limited);
      }
    });
    $(".lab-stop").addEventListener("click", stop);
    $(".lab-again").addEventListener("click", () => take({ seed: (setting.seed + 1) % 2 ** 32 }, 0));
    for (const kind of ["csv", "json"]) $(`.lab-${kind}`).addEventListener("click", () => save(kind));

    const from = lab.fromAddress(location.search);
    setting = from.setting;
    show();
    run(from.said);
    return draw;
  },
  [...Live.engine, "laboratory/setting", "laboratory/curves", "laboratory/plot"],
);
