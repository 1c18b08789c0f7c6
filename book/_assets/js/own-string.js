// A string that the reader types: is it one of a small grammar, where is it not, and what a U-turn makes of it, with the exact
// posterior of every symbol. Data: {palettes: by L, from 1 on, the colours of the levels}.
Live.figure(
  "own-string",
  (stage, { palettes }) => {
    const lab = Laboratory;
    const $ = (selector) => stage.querySelector(selector);
    const inputs = Object.fromEntries([...stage.querySelectorAll("input[name], select[name]")].map((el) => [el.name, el]));
    const [picture, said] = [".own-picture", ".own-said"].map($);
    const [LEFT, HIGH, ROW] = [46, 34, 86]; // of the rows' names; of the bars; of a level
    let setting = lab.stringFromAddress(location.search);
    let g = null;
    let state = null;
    let [waiting, due] = [0, 0];

    function take(wished) {
      const size = ({ v, m, s, L, seed }) => [v, m, s, L, seed].join();
      const before = g && size(setting);
      setting = lab.settleString({ ...setting, ...wished });
      if (before !== size(setting)) {
        g = lab.stringGrammar(setting);
        rules();
        if (before || !setting.string) setting.string = lab.drawnString(g, new Engine.Generator(setting.seed, 0)); // one of its own
      }
      state = lab.stringState(setting, g);
      show();
      draw();
      clearTimeout(waiting);
      waiting = setTimeout(() => {
        said.textContent = lab.stringWords(state);
        table();
      }, 120); // a hand that still moves is told nothing
    }
    function change(wished) {
      take(wished);
      clearTimeout(due);
      due = setTimeout(() => {
        try {
          history.replaceState(null, "", `${lab.joined(location.search, lab.stringToAddress(setting))}${location.hash}`);
        } catch {
          // a browser that lets no file have another address
        }
      }, 150);
    }

    function show() {
      const t = lab.grid(setting.noise)[setting.stop];
      const words = { stop: `${setting.noise === "GaussianNoise" ? "t" : setting.noise === "EpsilonNoise" ? "ε" : "share"} = ${+t.toPrecision(2)}` };
      for (const [name, input] of Object.entries(inputs)) {
        if (input.type !== "range") continue;
        const [least, most] = lab.stringLimits(name, setting);
        const text = words[name] ?? String(setting[name]);
        Object.assign(input, { min: least, max: most, value: setting[name] });
        input.setAttribute("aria-valuetext", text);
        input.closest("label").querySelector("output").textContent = text;
      }
      inputs.noise.value = setting.noise;
      if (inputs.string.value !== setting.string) inputs.string.value = setting.string;
      inputs.string.setAttribute("aria-invalid", String(Boolean(state.error)));
    }

    const head = (all) => `<thead><tr>${all.map((each) => `<th scope="col">${each}</th>`).join("")}</tr></thead>`;
    function rules() {
      const { heads, rows } = lab.rulesTable(g);
      const row = ([y, ...cells]) => `<tr><th scope="row">${y}</th>${cells.map((all) => `<td>${all.join(" | ")}</td>`).join("")}</tr>`;
      $(".own-rules").innerHTML = `<table>${head(["symbol", ...heads])}<tbody>${rows.map(row).join("")}</tbody></table>`;
    }

    function table() {
      const symbol = (a) => (a < 0 ? "none" : a);
      const row = ([node, x, y, ...p]) =>
        `<tr><th scope="row">${node}</th><td>${symbol(x)}</td><td>${y}</td>${p.map((each) => `<td>${each.toFixed(3)}</td>`).join("")}</tr>`;
      const heads = ["node", "its symbol", "this way back", ...Array.from({ length: g.v }, (_, a) => `p(${a})`)];
      $(".own-posterior").innerHTML = state.beliefs
        ? `<table>${head(heads)}<tbody>${lab.posteriorTable(state).map(row).join("")}</tbody></table>`
        : "";
    }

    // Of each node: the symbol that the parse gives it over its cell, the posterior as bars, and under them the way back.
    function draw() {
      const width = picture.clientWidth;
      if (!width) return;
      if (state.error) return void (picture.innerHTML = `<p>${state.error}</p>`);
      const { x, y, beliefs, orphans } = state;
      const colours = palettes[g.L - 1];
      const inner = width - LEFT - 2;
      const middle = (l, i) => LEFT + ((i + 0.5) * inner) / g.numNodes(l);
      const lost = new Set(orphans.map(([l, i]) => `${l} ${i}`));
      const bar = Math.max(1.5, Math.min(9, (inner / g.d - 5) / g.v - 1));
      let out = "";
      for (let l = g.L; l >= 0; l--) {
        const top = (g.L - l) * ROW;
        out += `<text x="${LEFT - 5}" y="${top + 37}" text-anchor="end">${lab.levelName(l, g.L)}</text>`;
        for (let i = 0; i < g.numNodes(l); i++) {
          const [at, symbol] = [middle(l, i), x[l][i]];
          if (l < g.L) out += `<path d="M${at} ${top - 2}L${middle(l + 1, Math.floor(i / g.s))} ${top - 12}" stroke="currentColor" opacity="0.35"/>`;
          const orphan = lost.has(`${l} ${i}`);
          out += `<text x="${at}" y="${top + 12}" text-anchor="middle" font-weight="600" ${orphan ? 'data-orphan="" ' : ""}>${symbol < 0 ? (orphan ? "✕" : "?") : symbol}</text>`;
          if (orphan) out += `<rect x="${at - 11}" y="${top - 1}" width="22" height="17" rx="3" fill="none" stroke="var(--hier-changed)" stroke-width="2"/>`;
          beliefs?.[l][i].forEach((p, a) => {
            const box = `x="${(at - (g.v * (bar + 1)) / 2 + a * (bar + 1)).toFixed(1)}" width="${bar.toFixed(1)}"`;
            out += `<rect ${box} y="${top + 18}" height="${HIGH}" fill="var(--hier-erased)"/>`;
            out += `<rect ${box} y="${(top + 18 + HIGH * (1 - p)).toFixed(1)}" height="${(HIGH * p).toFixed(1)}" fill="${colours[l]}"/>`;
          });
          if (!y) continue;
          const other = y[l][i] !== symbol;
          out += `<text x="${at}" y="${top + 66}" text-anchor="middle" font-weight="${other ? 700 : 400}">${y[l][i]}</text>`;
          if (other) out += `<path d="M${at - 6} ${top + 70}h12" stroke="var(--hier-changed)" stroke-width="3"/>`;
        }
      }
      picture.innerHTML = `<svg width="${width}" height="${(g.L + 1) * ROW}" font-size="13" fill="currentColor" aria-hidden="true">${out}</svg>`;
    }

    const press = (name, action) => $(`.own-${name}`).addEventListener("click", action);
    press("back", () => change({ draw: (setting.draw + 1) % 2 ** 30 }));
    press("one", () => change({ draw: setting.draw + 1, string: lab.drawnString(g, new Engine.Generator(setting.seed, 4 + setting.draw)) }));
    press("other", () => change({ seed: (setting.seed + 1) % 2 ** 31 }));
    // A click on a leaf makes the next symbol of it, as typing does.
    picture.addEventListener("click", (event) => {
      if (state.error) return;
      const box = picture.getBoundingClientRect();
      const i = Math.floor(((event.clientX - box.left - LEFT) / (box.width - LEFT - 2)) * g.d);
      if (i < 0 || i >= g.d || event.clientY - box.top < g.L * ROW) return;
      change({ string: [...state.leaves].map((a, k) => (k === i ? (a + 1) % g.v : a)).join("") });
    });
    stage.addEventListener("input", ({ target: { name, value } }) => {
      if (name === "string" || name === "noise") change({ [name]: value });
      else if (name) change({ [name]: +value });
    });
    inputs.noise.replaceChildren(...Object.entries(lab.NOISES).map(([name, { words }]) => new Option(words, name)));
    take({});
    return draw;
  },
  [...Live.engine, "laboratory/setting", "laboratory/datum", "laboratory/strings"],
);
