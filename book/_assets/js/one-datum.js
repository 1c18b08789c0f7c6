// One datum: noise on it, its leaves shown, erased or changed one by one, the messages level by level; the exact belief in
// every symbol of its tree, and a way back. Data: {palettes: by L, from 1 on, the colours of the levels}.
Live.figure(
  "one-datum",
  (stage, { palettes }) => {
    const lab = Laboratory;
    const $ = (selector) => stage.querySelector(selector);
    const inputs = Object.fromEntries([...stage.querySelectorAll("input[name], select[name]")].map((el) => [el.name, el]));
    const [picture, near, said] = [".datum-picture", ".datum-near", ".datum-said"].map($);
    const [LEFT, ROOM, SEEN] = [46, 242, 12]; // of the rows' names; height of all rows, and of what is seen
    const [CELL, LEAST] = [38, 24]; // of the stretch: the height of a row, and how narrow a leaf may be to be hit by a finger
    let setting = lab.datumFromAddress(location.search);
    let datum = null; // of {v, m, s, L, a, seed}
    let state = null; // all that follows from the setting
    let before = null; // what it was before the reader set a leaf, if that was the last thing done
    let [waiting, due] = [0, 0];

    const colours = () => palettes[setting.L - 1];
    const count = (l) => setting.s ** (setting.L - l);

    function take(wished, last = null) {
      const same = datum && ["v", "m", "s", "L", "a", "seed"].every((name) => wished[name] === undefined || wished[name] === setting[name]);
      setting = lab.settleDatum({ ...setting, ...wished });
      if (!same) datum = lab.drawDatum(setting);
      before = last;
      state = lab.datumState(setting, datum);
      show();
      draw();
      clearTimeout(waiting);
      waiting = setTimeout(() => {
        said.textContent = [lab.datumWords(state), before && lab.changeWords(before, state)].filter(Boolean).join(" ");
        $(".lab-python code").textContent = lab.datumPython(datum);
        table();
      }, 120); // a hand that still moves is told nothing
    }

    // The address keeps what the reader has set, not what there was at first.
    function remember() {
      clearTimeout(due);
      due = setTimeout(() => {
        try {
          history.replaceState(null, "", `${lab.joined(location.search, lab.datumToAddress(setting))}${location.hash}`);
        } catch {
          // a browser that lets no file have another address
        }
      }, 150);
    }
    const change = (wished, last) => {
      take(wished, last);
      remember();
    };

    function show() {
      const { L, leaf, step, noise, stop } = setting;
      const says = lab.leafSays(state, leaf - 1);
      const words = {
        stop: `${noise === "GaussianNoise" ? "t" : noise === "EpsilonNoise" ? "ε" : "share"} = ${+state.t.toPrecision(2)}`,
        leaf: `${leaf} of ${count(0)}`,
        step: step === 2 * L + 1 ? "all" : `${step} of ${2 * L + 1}`,
        a: lab.unevenness(setting.a),
      };
      for (const [name, input] of Object.entries(inputs)) {
        if (input.type !== "range") continue;
        const [least, most] = lab.datumLimits(name, setting);
        const stops = name === "m" ? lab.stops(most, setting.m) : null;
        if (stops) Object.assign(input, { min: 0, max: stops.length - 1, value: stops.findIndex((m) => m >= setting.m) });
        else Object.assign(input, { min: least, max: most, step: lab.stepOf(name), value: setting[name] });
        const text = words[name] ?? String(setting[name]);
        input.setAttribute("aria-valuetext", name === "step" ? lab.stepWords(step, L) : name === "leaf" ? `${text}: shows ${says}` : text);
        input.closest("label").querySelector("output").textContent = text;
      }
      inputs.noise.value = noise;
      const size = ({ v, m, s, L: levels, a }) => [v, m, s, levels, a].join();
      inputs.size.value = Object.keys(lab.SIZES).find((name) => size(lab.SIZES[name]) === size(setting)) ?? "";
      $(".datum-flip").textContent = says === "nothing" ? "Show this leaf" : "Erase this leaf";
      $(".datum-undo").disabled = !lab.ownLeaves(setting).has(leaf - 1);
      $(".datum-fewer").disabled = step === 0;
      $(".datum-more").disabled = step === 2 * L + 1;
    }

    // What a node's colour stands for: the belief in its true symbol, or in the likeliest one, which may be a wrong one.
    function shade(l, i) {
      const found = state.levels[l];
      if (!found) return null;
      if (inputs.shade.value === "truth") return { p: found.truth[i], wrong: false };
      return { p: found.best[i], wrong: found.top[i] !== state.x[l][i] };
    }

    function draw() {
      const width = picture.clientWidth;
      if (!width) return;
      const { L } = setting;
      const tall = Math.min(34, Math.floor(ROOM / (L + 1)));
      const inner = width - LEFT - 2;
      const base = (L + 1) * tall;
      const at = stretch(inner);
      rows(inner, tall, base);
      const names = Array.from({ length: L + 1 }, (_, l) => [lab.levelName(l, L), (L - l) * tall + tall / 2 + 3]);
      const text = ([name, y]) => `<text x="${LEFT - 5}" y="${y}" text-anchor="end">${name}</text>`;
      const left = LEFT + (at.first * inner) / count(0);
      const mark = LEFT + ((setting.leaf - 0.5) * inner) / count(0);
      $(".datum-picture > svg").innerHTML =
        [...names, ["seen", base + 11]].map(text).join("") +
        `<path d="M${left.toFixed(1)} ${base + SEEN + 3}v3h${((at.n * inner) / count(0)).toFixed(1)}v-3" fill="none" stroke="currentColor"/>` +
        `<path d="M${mark.toFixed(1)} ${base + SEEN + 3}l5 9h-10z" fill="var(--hier-link)"/>`;
      near.innerHTML = stretchDrawn(at, inner, width);
    }

    // The whole tree, on the canvas: where nodes are narrower than a few pixels, a pixel shows the mean of those in it.
    function rows(inner, tall, base) {
      const canvas = $("canvas");
      const ratio = window.devicePixelRatio || 1;
      Object.assign(canvas, { width: Math.round(inner * ratio), height: Math.round((ROOM + SEEN + 4) * ratio) });
      Object.assign(canvas.style, { left: `${LEFT}px`, width: `${inner}px`, height: `${ROOM + SEEN + 4}px` });
      const pen = canvas.getContext("2d");
      const [empty, wrong, ink] = ["--hier-erased", "--hier-changed", "--hier-ink"].map(Live.colour);
      const { x, y, leaves } = state;
      // One row: layers are [colour, alpha of node i], each laid over those before it.
      const band = (top, height, n, layers) => {
        const cells = Math.min(n, Math.floor(canvas.width / 3));
        const wide = canvas.width / cells;
        const space = wide > 6 * ratio ? 2 * ratio : wide > 3 * ratio ? ratio / 2 : 0;
        for (const [colour, alpha] of layers) {
          pen.fillStyle = colour;
          for (let k = 0; k < cells; k++) {
            const [a, b] = [Math.floor((k * n) / cells), Math.floor(((k + 1) * n) / cells)];
            let sum = 0;
            for (let i = a; i < b; i++) sum += alpha(i);
            if (!(sum > 0)) continue;
            pen.globalAlpha = Math.min(1, sum / (b - a));
            const from = space ? k * wide + space / 2 : Math.round(k * wide);
            pen.fillRect(from, top * ratio, space ? wide - space : Math.round((k + 1) * wide) - from, height * ratio);
          }
        }
      };
      const likeliest = inputs.shade.value === "best";
      for (let l = setting.L; l >= 0; l--) {
        const [top, colour, found, symbols, back] = [(setting.L - l) * tall, colours()[l], state.levels[l], x[l], y[l]];
        const strip = Math.max(3, Math.floor(tall / 5));
        const right = (i) => found.top[i] === symbols[i];
        const layers = [[empty, () => 1]];
        if (found && !likeliest) layers.push([colour, (i) => found.truth[i]]);
        if (found && likeliest) layers.push([colour, (i) => (right(i) ? found.best[i] : 0)], [wrong, (i) => (right(i) ? 0 : found.best[i])]);
        band(top, tall - strip - 4, count(l), layers);
        band(top + tall - strip - 3, strip, count(l), [[colour, () => 1], [wrong, (i) => +(back[i] !== symbols[i])]]); // prettier-ignore
      }
      const sure = (i) => (leaves.best[i] - 1 / setting.v) / (1 - 1 / setting.v);
      const own = (i) => leaves.top[i] === x[0][i];
      band(base + 1, SEEN - 2, count(0), [[ink, (i) => (own(i) ? sure(i) : 0)], [wrong, (i) => (own(i) ? 0 : sure(i))]]); // prettier-ignore
      pen.globalAlpha = 1;
    }

    // The part of the tree that is drawn large: as many levels above the chosen leaf as leave room for a finger.
    function stretch(inner) {
      const { s, L, leaf } = setting;
      let k = 1;
      while (k < Math.min(L, 4) && s ** (k + 1) * LEAST <= inner) k++;
      const n = s ** k;
      return { k, n, first: Math.floor((leaf - 1) / n) * n };
    }

    function stretchDrawn({ k, n, first }, inner, width) {
      const { s, L, leaf, v } = setting;
      const { x, leaves, levels } = state;
      let out = "";
      for (let l = k; l >= 0; l--) {
        const top = (k - l) * CELL;
        const wide = inner / s ** (k - l);
        for (let j = 0; j < s ** (k - l); j++) {
          const i = first / s ** l + j;
          const [found, left] = [shade(l, i), LEFT + j * wide];
          const box = `x="${(left + 1).toFixed(1)}" width="${(wide - 2).toFixed(1)}" y="${top}" height="${CELL - 20}"`;
          out += `<rect ${box} fill="var(--hier-erased)"/>`;
          if (found) out += `<rect ${box} fill="${found.wrong ? "var(--hier-changed)" : colours()[l]}" opacity="${found.p.toFixed(3)}"/>`;
          if (before && lab.moved(before, state, l).includes(i)) out += `<path d="M${(left + 1).toFixed(1)} ${top}h${(wide - 2).toFixed(1)}v${CELL - 20}h${(2 - wide).toFixed(1)}z" fill="none" stroke="var(--hier-link)" stroke-width="2"/>`;
          const [truth, likely] = [x[l][i], levels[l]?.top[i]];
          const says = likely === undefined || likely === truth ? truth : wide > 36 ? `${truth}→${likely}` : `→${likely}`;
          const weight = says === truth ? 400 : 700;
          out += `<text x="${(left + wide / 2).toFixed(1)}" y="${top + CELL - 7}" text-anchor="middle" font-weight="${weight}">${says}</text>`;
          if (!l) {
            const sure = (leaves.best[i] - 1 / v) / (1 - 1 / v);
            const at = `x="${(left + wide * 0.15).toFixed(1)}" width="${(wide * 0.7).toFixed(1)}" y="${top + CELL}" height="14"`;
            out += `<rect ${at} fill="none" stroke="var(--hier-muted)"/>`;
            out += `<rect ${at} fill="${leaves.top[i] === truth ? "currentColor" : "var(--hier-changed)"}" opacity="${Math.max(0, sure).toFixed(3)}"/>`;
            if (i === leaf - 1) out += `<path d="M${(left + wide / 2).toFixed(1)} ${top + CELL + 17}l5 8h-10z" fill="var(--hier-link)"/>`;
          }
        }
        out += `<text x="${LEFT - 5}" y="${top + 14}" text-anchor="end">${lab.levelName(l, L)}</text>`;
      }
      const base = (k + 1) * CELL;
      out += `<text x="${LEFT - 5}" y="${base + 11}" text-anchor="end">seen</text>`;
      return `<svg width="${width}" height="${base + 28}" font-size="12" fill="currentColor" aria-hidden="true">${out}</svg>`;
    }

    function table() {
      const heads = ["level", "mean belief in the true symbol", "true symbol likeliest", "kept on this way back", `above leaf ${setting.leaf}: true`, "likeliest", "belief in it"]; // prettier-ignore
      const cell = (value, k) => `<td>${value === null ? "—" : k === 3 || k === 4 ? value : value.toFixed(3)}</td>`; // symbols are whole
      const row = ([name, ...rest]) => `<tr><th scope="row">${name}</th>${rest.map(cell).join("")}</tr>`;
      const head = heads.map((each) => `<th scope="col">${each}</th>`).join("");
      $(".lab-table").innerHTML = `<table><thead><tr>${head}</tr></thead><tbody>${lab.datumTable(state).map(row).join("")}</tbody></table>`;
    }

    // A leaf set by the reader: to a symbol, erased (-1), or null, as the noise left it.
    function set(i, symbol) {
      const own = lab.ownLeaves(setting);
      own.delete(i);
      if (symbol !== null) own.set(i, symbol);
      change({ leaf: i + 1, own: lab.ownText(own) }, state);
    }
    const flip = (i) => set(i, lab.leafSays(state, i) === "nothing" ? datum.x[0][i] : -1);
    const press = (name, action) => $(`.datum-${name}`).addEventListener("click", action);
    press("flip", () => flip(setting.leaf - 1));
    press("undo", () => set(setting.leaf - 1, null));
    press("change", () => {
      const i = setting.leaf - 1;
      const next = (state.leaves.top[i] + 1) % setting.v;
      set(i, next === datum.x[0][i] ? (next + 1) % setting.v : next);
    });
    press("fewer", () => change({ step: setting.step - 1 }));
    press("more", () => change({ step: setting.step + 1 }));
    press("back", () => change({ draw: (setting.draw + 1) % 2 ** 31 }));
    press("other", () => change({ seed: (setting.seed + 1) % 2 ** 31, own: "" }));
    const save = (name, text) => {
      const url = URL.createObjectURL(new Blob([text], { type: "application/json" }));
      Object.assign(document.createElement("a"), { href: url, download: name }).click();
      setTimeout(() => URL.revokeObjectURL(url), 10_000);
    };
    press("rules", () => save("grammar.json", JSON.stringify(datum.g)));
    press("json", () => save("one-datum.json", lab.datumJson(state)));

    // In the whole tree a click chooses a leaf; in the stretch, among its leaves, it erases or shows it too.
    const hit = (el, event, first, n) => {
      const box = el.getBoundingClientRect();
      const i = Math.floor(((event.clientX - box.left - LEFT) / (box.width - LEFT - 2)) * n);
      return i < 0 || i >= n ? null : first + i;
    };
    picture.addEventListener("click", (event) => {
      const i = hit(picture, event, 0, count(0));
      if (i !== null) change({ leaf: i + 1 });
    });
    near.addEventListener("click", (event) => {
      const { k, n, first } = stretch(picture.clientWidth - LEFT - 2);
      const i = hit(near, event, first, n);
      if (i === null) return;
      if (event.clientY - near.getBoundingClientRect().top >= k * CELL) flip(i);
      else change({ leaf: i + 1 });
    });
    stage.addEventListener("input", ({ target: { name, value } }) => {
      const all = 2 * setting.L + 1;
      const kept = setting.step === all ? { step: "" } : {}; // who sees all messages sees those of the next tree too
      if (name === "shade") draw();
      else if (name === "size") value && change({ ...lab.SIZES[value], seed: setting.seed, draw: setting.draw });
      else if (name === "m") change({ m: lab.stops(lab.datumLimits("m", setting)[1], setting.m)[+value], own: "" });
      else if (name === "noise") change({ noise: value });
      else if (["v", "s", "L", "a"].includes(name)) change({ [name]: +value, own: "", ...kept });
      else if (name) change({ [name]: +value });
    });
    const choose = (select, names, words = (name) => name) => select.replaceChildren(...names.map((name) => new Option(words(name), name)));
    choose(inputs.noise, Object.keys(lab.NOISES), (name) => lab.NOISES[name].words);
    choose(inputs.size, ["", ...Object.keys(lab.SIZES)], (name) => name || "your own");
    picture.innerHTML = '<canvas role="img" aria-label="The whole tree, level by level; the table has it in numbers"></canvas><svg font-size="12" fill="currentColor" aria-hidden="true"></svg>';
    take({});
    return draw;
  },
  [...Live.engine, "laboratory/setting", "laboratory/datum"],
);
