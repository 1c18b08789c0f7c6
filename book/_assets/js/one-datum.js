// One datum: its leaves shown, erased or changed one by one; the exact belief in every symbol of its tree, and a way back.
// Data: {palettes: by L, from 1 on, the colours of the levels}.
Live.figure(
  "one-datum",
  (stage, { palettes }) => {
    const $ = (selector) => stage.querySelector(selector);
    const inputs = Object.fromEntries([...stage.querySelectorAll("input")].map((el) => [el.name, el]));
    const [picture, said] = [".datum-picture", ".datum-said"].map($);
    const [V, S] = [16, 2];
    const DOUBT = 0.05; // of each shown leaf, that it was read wrong
    const [ROW, GAP] = [30, 3];
    let [seed, draw] = [0, 0];
    let here = null; // {g, x, order}: the datum; order, a number in (0, 1) a leaf
    let own = new Map(); // leaves that the reader has set: their symbol, V for none

    function make() {
      const [m, L] = [+inputs.m.value, +inputs.L.value];
      const generator = new Engine.Generator(seed, 1);
      const g = Engine.randomGrammar({ v: V, m, s: S, L, generator });
      const x = Engine.sample(g, 1, { generator });
      here = { g, x, order: Float64Array.from(x[0], () => generator.uniform()) };
      own = new Map();
      inputs.leaf.max = g.d;
      inputs.leaf.value = Math.min(+inputs.leaf.value, g.d);
    }

    const chosen = () => +inputs.leaf.value - 1;
    const seen = (i) => own.get(i) ?? (here.order[i] < +inputs.share.value / 100 ? V : here.x[0][i]);

    // What is seen of the leaves, what that makes of the tree, and one draw; the same numbers behind each draw.
    function infer() {
      const { g, x } = here;
      const leaves = Int32Array.from(x[0], (_, i) => seen(i));
      const evidence = new Float32Array(g.d * V).fill(1 / V);
      leaves.forEach((a, i) => {
        if (a === V) return;
        evidence.fill(DOUBT / V, i * V, (i + 1) * V);
        evidence[i * V + a] += 1 - DOUBT;
      });
      const { marginals } = Engine.infer(g, evidence, { messages: false });
      const belief = x.map((level, l) => Array.from(level, (y, i) => marginals[l][i * g.numSymbols(l) + y]));
      const back = Engine.posteriorSample(g, evidence, { generator: new Engine.Generator(seed, 2 + draw), first: x });
      return { leaves, belief, back };
    }

    function redraw() {
      const width = picture.clientWidth;
      if (!width) return;
      const { g, x } = here;
      const found = infer();
      picture.innerHTML = drawn(width, found);
      say(found);
      for (const [name, words] of [["m", inputs.m.value], ["L", inputs.L.value], ["share", `${inputs.share.value} %`],
        ["leaf", `${chosen() + 1} of ${g.d}: ${state(found.leaves)}`]]) { // prettier-ignore
        inputs[name].closest("label").querySelector("output").textContent = words;
        inputs[name].setAttribute("aria-valuetext", words);
      }
      $(".datum-flip").textContent = found.leaves[chosen()] === V ? "Show this leaf" : "Erase this leaf";
    }
    const state = (leaves) =>
      leaves[chosen()] === V ? "erased" : leaves[chosen()] === here.x[0][chosen()] ? "shown" : "changed";

    function drawn(width, { leaves, belief, back }) {
      const { g, x } = here;
      const [left, colours] = [46, palettes[g.L - 1]];
      const inner = width - left - 2;
      let out = "";
      for (let l = g.L; l >= 0; l--) {
        const [top, n] = [(g.L - l) * ROW, g.numNodes(l)];
        const wide = inner / n;
        const space = wide > 6 ? 2 : wide > 3 ? 0.5 : 0;
        for (let i = 0; i < n; i++) {
          const box = `x="${(left + i * wide + space / 2).toFixed(1)}" width="${(wide - space).toFixed(1)}"`;
          const kept = back[l][i] === x[l][i];
          out += `<rect ${box} y="${top}" height="${ROW - GAP - 8}" fill="var(--hier-erased)"/>`;
          out += `<rect ${box} y="${top}" height="${ROW - GAP - 8}" fill="${colours[l]}" opacity="${belief[l][i].toFixed(3)}"/>`;
          out += `<rect ${box} y="${top + ROW - GAP - 7}" height="6" fill="${kept ? colours[l] : "var(--hier-changed)"}"/>`;
        }
        const name = l === g.L ? "class" : l ? `level ${l}` : "leaves";
        out += `<text x="${left - 5}" y="${top + 14}" text-anchor="end">${name}</text>`;
      }
      const base = (g.L + 1) * ROW;
      out += `<text x="${left - 5}" y="${base + 12}" text-anchor="end">seen</text>`;
      leaves.forEach((a, i) => {
        const wide = inner / g.d;
        const at = `x="${(left + (i + 0.15) * wide).toFixed(1)}" width="${(0.7 * wide).toFixed(1)}"`;
        if (a !== V) out += `<rect ${at} y="${base + 3}" height="10" fill="${a === x[0][i] ? "currentColor" : "var(--hier-changed)"}"/>`;
      });
      const mark = left + ((chosen() + 0.5) * inner) / g.d;
      out += `<path d="M${mark.toFixed(1)} ${base + 16}l5 8h-10z" fill="var(--hier-link)"/>`;
      return `<svg width="${width}" height="${base + 28}" font-size="12" fill="currentColor" aria-hidden="true">${out}</svg>`;
    }

    function say({ leaves, belief, back }) {
      const { g, x } = here;
      const shown = leaves.filter((a) => a !== V).length;
      const wrong = leaves.filter((a, i) => a !== V && a !== x[0][i]).length;
      const mean = (p) => p.reduce((sum, each) => sum + each, 0) / p.length;
      const kept = back[0].filter((a, i) => a === x[0][i]).length;
      said.textContent =
        `${shown} of ${g.d} leaves are shown${wrong ? `, ${wrong} of them changed` : ""}. Belief in the true class: ` +
        `${belief[g.L][0].toFixed(3)}; in the leaves, on average: ${mean(belief[0]).toFixed(3)}; in leaf ${chosen() + 1}: ` +
        `${belief[0][chosen()].toFixed(3)}. This way back ${back[g.L][0] === x[g.L][0] ? "keeps" : "changes"} the class and keeps ` +
        `${kept} of ${g.d} leaves.`;
    }

    function set(i, symbol) {
      own.set(i, symbol);
      redraw();
    }
    const flip = (i) => set(i, seen(i) === V ? here.x[0][i] : V);
    $(".datum-flip").addEventListener("click", () => flip(chosen()));
    $(".datum-change").addEventListener("click", () => {
      const next = (seen(chosen()) + 1) % V;
      set(chosen(), next === here.x[0][chosen()] ? (next + 1) % V : next);
    });
    $(".datum-back").addEventListener("click", () => {
      draw++;
      redraw();
    });
    $(".datum-other").addEventListener("click", () => {
      seed++;
      make();
      redraw();
    });
    $(".datum-rules").addEventListener("click", () => {
      const url = URL.createObjectURL(new Blob([JSON.stringify(here.g)], { type: "application/json" }));
      Object.assign(document.createElement("a"), { href: url, download: "grammar.json" }).click();
      setTimeout(() => URL.revokeObjectURL(url), 10_000);
    });
    picture.addEventListener("click", (event) => {
      const box = picture.getBoundingClientRect();
      const i = Math.floor(((event.clientX - box.left - 46) / (box.width - 48)) * here.g.d);
      if (i < 0 || i >= here.g.d) return;
      inputs.leaf.value = i + 1;
      flip(i);
    });
    stage.addEventListener("input", ({ target: { name } }) => {
      if (name === "m" || name === "L") make();
      if (name === "share") own = new Map();
      redraw();
    });
    make();
    redraw();
    return redraw;
  },
  Live.engine,
);
