// What the laboratory can be set to: limits, presets, the address of the page, and a setting as Python.
// A setting is {noise, v, m, s, L, a, grammars, data, seed}: the k-th of a symbol's rules has a weight ∝ k^-a.
(() => {
  const NOISES = {
    GaussianNoise: { words: "Gaussian diffusion", axis: "noise: time t, log scale", log: true },
    EpsilonNoise: { words: "ε-process", axis: "noise ε" },
    MaskNoise: { words: "masks", axis: "noise: share t of masks" },
    UniformNoise: { words: "redrawn symbols", axis: "noise: probability t of a new draw" },
  };
  const FIRST = { noise: "GaussianNoise", v: 32, m: 8, s: 2, L: 10, a: 0, grammars: 24, data: 1, seed: 0 };
  const PRESETS = {
    "figure 5: diffusion": FIRST,
    "figure 5, a shallower tree": { ...FIRST, L: 6 },
    "figures 7 and 14: ε-process": { ...FIRST, noise: "EpsilonNoise" },
    "figure 6, the class is always kept": { ...FIRST, noise: "EpsilonNoise", m: 1 },
    "figure 6, it is kept below ε*": { ...FIRST, noise: "EpsilonNoise", m: 4 },
    "figure 6, it is never kept": { ...FIRST, noise: "EpsilonNoise", m: 20 },
    "too shallow to invert": { ...FIRST, noise: "EpsilonNoise", L: 3 },
    "masks": { ...FIRST, noise: "MaskNoise" },
    "uneven rules keep the class": { ...FIRST, noise: "EpsilonNoise", m: 32, a: 2 },
    "the same with even rules": { ...FIRST, noise: "EpsilonNoise", m: 32 },
    "three children": { ...FIRST, v: 16, s: 3, L: 6 },
  };
  const MOST_EVIDENCE = 2 ** 17; // as engine/model.js has it
  const MOST_RULES = 2 ** 14; // of all symbols of a level; more take a browser too long

  const mostRules = ({ v, s }) => Math.min(v ** (s - 1), Math.floor(MOST_RULES / v));
  function mostLevels({ v, s }) {
    let L = 1;
    while (L < 12 && s ** (L + 1) * v <= MOST_EVIDENCE) L++;
    return L;
  }
  const LIMITS = {
    s: () => [2, 4],
    v: () => [2, 64],
    m: (setting) => [1, mostRules(setting)],
    L: (setting) => [1, mostLevels(setting)],
    a: () => [0, 2],
    grammars: () => [2, 400],
    data: () => [1, 32],
    seed: () => [0, 2 ** 32 - 1],
  };

  const UNITS = { a: 10 }; // of what is no whole number, parts of one
  const rounded = (name, x) => Math.round(x * (UNITS[name] ?? 1)) / (UNITS[name] ?? 1);
  const stepOf = (name) => 1 / (UNITS[name] ?? 1);

  // What stands at a slider of a.
  const unevenness = (a) => (a ? String(a) : "0, even");

  // The setting nearest to what is wished, and a sentence for each wish that it does not fulfil.
  function settle(wished) {
    const [setting, said] = [{ ...FIRST }, []];
    const noise = wished.noise ?? FIRST.noise;
    if (Object.hasOwn(NOISES, noise)) setting.noise = noise;
    else said.push(`There is no noise “${noise}”.`);
    for (const [name, limits] of Object.entries(LIMITS)) {
      const wish = wished[name] === undefined || wished[name] === "" ? FIRST[name] : Number(wished[name]);
      const [least, most] = limits(setting);
      const near = Number.isFinite(wish) ? rounded(name, wish) : FIRST[name];
      setting[name] = Math.min(most, Math.max(least, near));
      if (wished[name] !== undefined && setting[name] !== wish)
        said.push(`${name} is from ${least} to ${most}${UNITS[name] ? ` in steps of ${stepOf(name)}` : ""} here: ${wished[name]} became ${setting[name]}.`);
    }
    return { setting, said };
  }

  const toAddress = (setting) => new URLSearchParams(setting).toString();
  // An address that has these entries too; what other figures of the page keep there stays.
  function joined(search, entries) {
    const all = new URLSearchParams(search);
    for (const [name, value] of Object.entries(entries)) all.set(name, value);
    return `?${all}`;
  }
  const fromAddress = (text) => settle(Object.fromEntries(new URLSearchParams(text)));

  // Whole numbers from 1 to top for a slider: each of the first ones, then a fixed ratio apart, powers of two among them;
  // and one of its own, where it stands now.
  function stops(top, own = top) {
    const found = new Set([own, top]);
    for (let x = 1; x < top; x = Math.max(x + 1, Math.round(x * 1.19))) {
      const power = 2 ** Math.round(Math.log2(x));
      found.add(Math.abs(x / power - 1) < 0.1 ? Math.min(power, top) : x);
    }
    return [...found].sort((a, b) => a - b);
  }

  // Noise levels at which curves are computed: even in ln t, or between 0 and 1 and dense at both ends, where trees of few
  // or of many rules lose their class.
  function grid(noise) {
    const even = Array.from({ length: 61 }, (_, k) => k / 60);
    return even.map((u) => (NOISES[noise].log ? 0.01 * 300 ** u : Math.sin((Math.PI / 2) * u) ** 2));
  }

  // Lines that give the same curves, but for other random numbers.
  function python(setting) {
    const { noise, v, m, s, L, a, grammars, data, seed } = setting;
    const weights = a ? `weights=hl.zipf(${m}, ${a}), ` : "";
    const t = NOISES[noise].log ? "0.01 * 300 ** u" : "torch.sin(torch.pi / 2 * u) ** 2";
    return [
      "import torch, hierlib as hl",
      "from hierlib.experiments import curves, uturns",
      `size = dict(v=${v}, m=${m}, s=${s}, L=${L}, draws=${grammars}, data=${data}, ${weights}generator=torch.Generator().manual_seed(${seed}))`,
      "u = torch.linspace(0, 1, 61)",
      `found = uturns.level_curves(hl.${noise}(v=${v}), ${t}, **size)`,
      "kept = curves.mean_interval(found.truth)  # value, lo, hi: [noise, level], the class last",
    ].join("\n");
  }

  Object.assign((globalThis.Laboratory ??= {}), { NOISES, PRESETS, FIRST, LIMITS, rounded, stepOf, unevenness, settle, toAddress, joined, fromAddress, stops, grid, python });
})();
if (typeof module !== "undefined") module.exports = globalThis.Laboratory;
