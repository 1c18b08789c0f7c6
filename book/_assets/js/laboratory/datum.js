// One datum at the reader's hands: what it can be set to, what is seen of it, what each node has heard, and that in words.
// A setting is {v, m, s, L, a, noise, stop, seed, draw, leaf, step, own}: stop numbers a noise of Laboratory.grid; step how many
// levels of messages are there; own are the leaves that the reader has set, "7.x~9.3": the seventh erased, the ninth shown as 3.
(() => {
  const FIRST = { v: 16, m: 4, s: 2, L: 5, a: 0, noise: "MaskNoise", stop: 26, seed: 0, draw: 0, leaf: 6, step: 11, own: "" };
  const SIZES = {
    "32 leaves": FIRST,
    "figure 5: 1024 leaves": { ...FIRST, v: 32, m: 8, L: 10, noise: "GaussianNoise", stop: 30, step: 21 },
    "three children: 243 leaves": { ...FIRST, v: 12, s: 3, L: 5, noise: "EpsilonNoise" },
  };
  const [MOST_LEAVES, MOST_RULES] = [1024, 2 ** 12]; // more of them are no picture, or take longer than a frame
  const DOUBT = 0.05; // of each leaf that the reader shows, that it was read wrong: the grammar can overrule it
  const ERASED = "x";
  const STOPS = 60;

  function datumLimits(name, { v, s, L }) {
    if (name === "v") return [2, 32];
    if (name === "s") return [2, 4];
    if (name === "m") return [1, Math.min(v ** (s - 1), Math.floor(MOST_RULES / v))];
    if (name === "L") return [1, Math.floor(Math.log(MOST_LEAVES) / Math.log(s) + 1e-9)];
    if (name === "a") return globalThis.Laboratory.LIMITS.a();
    if (name === "leaf") return [1, s ** L];
    if (name === "step") return [0, 2 * L + 1];
    return [0, name === "stop" ? STOPS : 2 ** 32 - 1];
  }

  // The setting nearest to what is wished; what is no number is as at first, and all messages are there.
  function settleDatum(wished) {
    const setting = { ...FIRST };
    if (Object.hasOwn(globalThis.Laboratory.NOISES, wished.noise ?? "")) setting.noise = wished.noise;
    for (const name of ["v", "s", "m", "L", "a", "stop", "seed", "draw", "leaf", "step"]) {
      const [least, most] = datumLimits(name, setting);
      const wish = wished[name] === undefined || wished[name] === "" ? NaN : globalThis.Laboratory.rounded(name, Number(wished[name]));
      const otherwise = name === "step" ? most : FIRST[name];
      setting[name] = Math.min(most, Math.max(least, Number.isFinite(wish) ? wish : otherwise));
    }
    setting.own = ownText(ownLeaves({ ...setting, own: String(wished.own ?? "") }));
    return setting;
  }

  // The leaves that the reader has set, by their number from 0 on: a symbol, or -1 for an erased one.
  function ownLeaves({ own, v, s, L }) {
    const found = new Map();
    for (const [, leaf, symbol] of own.matchAll(/(\d+)\.(x|\d+)/g))
      if (+leaf >= 1 && +leaf <= s ** L && (symbol === ERASED || +symbol < v)) found.set(leaf - 1, symbol === ERASED ? -1 : +symbol);
    return found;
  }
  const ownText = (own) => [...own].map(([leaf, symbol]) => `${leaf + 1}.${symbol < 0 ? ERASED : symbol}`).join("~");

  // In the address each entry is called datum_NAME, for the page has other figures.
  const datumToAddress = (setting) => Object.fromEntries(Object.entries(setting).map(([name, value]) => [`datum_${name}`, value]));
  function datumFromAddress(search) {
    const all = [...new URLSearchParams(search)].filter(([name]) => name.startsWith("datum_"));
    return settleDatum(Object.fromEntries(all.map(([name, value]) => [name.slice(6), value])));
  }

  // {g, x, paths}: the grammar of a setting, one datum of it, and by noise what is seen of it as a function of t.
  function drawDatum({ v, m, s, L, a, seed }) {
    const generator = new Engine.Generator(seed, 1);
    const g = Engine.randomGrammar({ v, m, s, L, weights: Engine.zipf(m, a), generator });
    return { g, x: Engine.sample(g, 1, { generator }), paths: {} };
  }

  // What is known of each leaf by itself, (s^L, v): what the noise leaves, then what the reader has set. The numbers behind
  // the noise are the same at all its levels.
  function evidenceOf(setting, { g, x, paths }) {
    const { noise, stop, seed, v } = setting;
    const t = globalThis.Laboratory.grid(noise)[stop];
    const kind = new Engine[noise](v);
    paths[noise] ??= kind.path(x[0], { generator: new Engine.Generator(seed, 2) }); // its numbers take longer than all else
    const evidence = kind.evidence(paths[noise](t), t);
    for (const [leaf, symbol] of ownLeaves(setting)) {
      evidence.fill(symbol < 0 ? 1 / v : DOUBT / v, leaf * v, (leaf + 1) * v);
      if (symbol >= 0) evidence[leaf * v + symbol] += 1 - DOUBT;
    }
    return { evidence, t, g, x };
  }

  // What nodes with n symbols believe: {truth, top, best}, of each the belief in its true symbol, the likeliest symbol and the
  // belief in that. Evidence of leaves comes in any normalisation.
  function readOff(p, symbols, n) {
    const size = symbols.length;
    const found = { truth: new Float64Array(size), top: new Int32Array(size), best: new Float64Array(size) };
    for (let i = 0, at = 0; i < size; i++, at += n) {
      let [total, top] = [0, 0];
      for (let y = 0; y < n; y++) {
        total += p[at + y];
        if (p[at + y] > p[at + top]) top = y;
      }
      found.truth[i] = p[at + symbols[i]] / total;
      found.top[i] = top;
      found.best[i] = p[at + top] / total;
    }
    return found;
  }

  // By level, after so many levels of messages, up from the leaves and then down from the class; null where nothing has been
  // heard yet.
  function heard(beliefs, x, step) {
    const { g } = beliefs;
    return x.map((symbols, l) => {
      if (l > step) return null;
      const p = step >= 2 * g.L + 1 - l ? beliefs.marginals[l] : beliefs.up[l];
      return readOff(p, symbols, g.numSymbols(l));
    });
  }

  // Everything that is drawn and said of a setting and its datum.
  function datumState(setting, datum) {
    const seen = evidenceOf(setting, datum);
    const { g, x, evidence } = seen;
    const beliefs = Engine.infer(g, evidence, { messages: setting.step < 2 * g.L + 1 });
    const generator = new Engine.Generator(setting.seed, 3 + setting.draw);
    const y = Engine.posteriorSample(g, evidence, { generator, first: x });
    return { ...seen, setting, beliefs, y, levels: heard(beliefs, x, setting.step), leaves: readOff(evidence, x[0], g.v) };
  }

  const levelName = (l, L) => (l === L ? "class" : l ? `level ${l}` : "leaves");
  const mean = (p) => p.reduce((sum, each) => sum + each, 0) / p.length;
  const same = (a, b) => a.reduce((sum, each, i) => sum + (each === b[i]), 0);

  // What a leaf says by itself: "nothing", its "own" symbol, or "another".
  function leafSays({ leaves, x, g }, i) {
    if (leaves.best[i] - 1 / g.v < 1e-6) return "nothing";
    return leaves.top[i] === x[0][i] ? "own" : "another";
  }

  function stepWords(step, L) {
    const last = 2 * L + 1;
    if (step === last) return "All messages are there.";
    if (!step) return "Every leaf has seen only itself.";
    if (step <= L) return `Upward, ${step} of ${L}: ${step === L ? "the class has" : `level ${step} has`} heard from its children.`;
    if (step === L + 1) return "The class has heard from all leaves: what it believes is exact.";
    return `Downward, ${step - L - 1} of ${L}: level ${last - step} has heard from above as well, and is exact.`;
  }

  function datumWords(state) {
    const { setting, g, x, y, levels, leaves } = state;
    const { L, step, leaf } = setting;
    const says = Array.from(x[0], (_, i) => leafSays(state, i));
    const count = (name) => says.filter((each) => each === name).length;
    const all = [`Of ${g.d} leaves, by themselves, ${count("own")} show their symbol, ${count("another")} another one, ${count("nothing")} nothing.`];
    if (step < 2 * L + 1) all.push(stepWords(step, L));
    const top = levels[L];
    all.push(
      top
        ? `Belief in the true class: ${top.truth[0].toFixed(3)}${top.best[0] - top.truth[0] < 1e-3 ? "" : `; class ${top.top[0]} is likelier, with ${top.best[0].toFixed(3)}`}.`
        : "The class has heard nothing yet.",
    );
    all.push(`In the true leaves, on average: ${mean(levels[0].truth).toFixed(3)}; in leaf ${leaf}: ${levels[0].truth[leaf - 1].toFixed(3)}.`);
    if (step === 2 * L + 1)
      all.push(`This way back ${y[L][0] === x[L][0] ? "keeps" : "changes"} the class and keeps ${same(x[0], y[0])} of ${g.d} leaves.`);
    else all.push(`Leaf ${leaf} by itself: ${leaves.truth[leaf - 1].toFixed(3)}.`);
    return all.join(" ");
  }

  const MOVED = 0.01; // what belief in the truth has to move by to be said to have

  // The nodes of a level whose belief in the truth a change of a leaf has moved.
  function moved(before, after, l) {
    const [a, b] = [before.levels[l], after.levels[l]];
    return a && b ? Array.from(b.truth.keys()).filter((i) => Math.abs(b.truth[i] - a.truth[i]) >= MOVED) : [];
  }

  // What the reader's hand on one leaf has done to the beliefs of all nodes.
  function changeWords(before, after) {
    const { L, leaf } = after.setting;
    const from = (l, i) => `from ${before.levels[l].truth[i].toFixed(3)} to ${after.levels[l].truth[i].toFixed(3)}`;
    const all = after.levels.map((_, l) => moved(before, after, l)).map((nodes, l) => (l ? nodes : nodes.filter((i) => i !== leaf - 1)));
    if (!all.some((nodes) => nodes.length)) return `What was done to leaf ${leaf} has moved no other belief by ${MOVED}.`;
    const counts = all.slice(1, L).map((nodes, l) => nodes.length && `${nodes.length} of ${after.x[l + 1].length} nodes of level ${l + 1}`);
    const others = `${all[0].length} of ${after.g.d - 1} other leaves`;
    const top = after.levels[L] && `the class ${all[L].length ? from(L, 0) : "by less"}`;
    return `What was done to leaf ${leaf} has moved belief in the truth by ${MOVED} or more (framed where drawn large): ${[others, ...counts, top].filter(Boolean).join(", ")}.`;
  }

  // By level, the class first: [name, mean belief in the truth, share with the truth on top, share kept on the way back, and of
  // the node above the chosen leaf: true symbol, likeliest symbol, belief in that]; null for what has heard nothing.
  function datumTable({ setting: { L, s, leaf }, x, y, levels }) {
    return levels.map((found, l) => {
      const node = Math.floor((leaf - 1) / s ** l);
      const kept = same(x[l], y[l]) / x[l].length;
      const name = levelName(l, L);
      if (!found) return [name, null, null, kept, x[l][node], null, null];
      return [name, mean(found.truth), same(found.top, x[l]) / x[l].length, kept, x[l][node], found.top[node], found.best[node]];
    }).toReversed(); // prettier-ignore
  }

  // Everything, to be read by hierlib.
  const datumJson = ({ setting, t, g, x, y, evidence, beliefs }) =>
    JSON.stringify({
      setting: { ...setting, t },
      grammar: g,
      x: x.map((level) => [...level]),
      evidence: Array.from({ length: g.d }, (_, i) => [...evidence.slice(i * g.v, (i + 1) * g.v)]),
      marginals: beliefs.rows("marginals").map((level) => level.map((p) => [...p])),
      way_back: y.map((level) => [...level]),
    });

  // Lines that infer the same from that file.
  function datumPython({ g }) {
    const weights = 'weights = [torch.tensor(level, dtype=torch.float64) for level in saved["grammar"].pop("weights")]';
    return [
      "import json, torch, hierlib as hl",
      "from pathlib import Path",
      'saved = json.loads(Path("one-datum.json").read_text("utf-8"))',
      'rules = [torch.tensor(level) for level in saved["grammar"].pop("rules")]',
      ...(g.weights ? [weights] : []),
      `g = hl.Grammar(**saved["grammar"], rules=rules${g.weights ? ", weights=weights" : ""})`,
      'evidence = torch.tensor([saved["evidence"]])',
      "beliefs = hl.infer(g, evidence)  # marginals[level][datum, node, symbol]",
      "way_back = hl.posterior_sample(g, evidence, generator=torch.Generator().manual_seed(0))",
    ].join("\n");
  }

  Object.assign((globalThis.Laboratory ??= {}), {
    SIZES, datumLimits, settleDatum, ownLeaves, ownText, datumToAddress, datumFromAddress, drawDatum, datumState, levelName,
    leafSays, stepWords, datumWords, moved, changeWords, datumTable, datumJson, datumPython,
  }); // prettier-ignore
})();
if (typeof module !== "undefined") module.exports = globalThis.Laboratory;
