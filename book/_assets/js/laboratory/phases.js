// The phase diagram of the reader's size: what it can be set to, in which order its points come, and what they say.
// A setting is {v, s, L, a, grammars, from, to, low, high}: m from … to, the k-th rule of a weight ∝ k^-a, and the noise low …
// high in hundredths.
(() => {
  const FIRST = { v: 32, s: 2, L: 8, a: 0, grammars: 6, from: 1, to: 23, low: 0, high: 100 };
  const [COLUMNS, ROWS] = [12, 13]; // of points, at most
  const CERTAIN = 3; // standard errors above chance that are no accident

  function limits(name, setting) {
    const lab = globalThis.Laboratory;
    if (name === "grammars") return [2, 60];
    if (name === "from") return [1, lab.LIMITS.m(setting)[1]];
    if (name === "to") return [setting.from, lab.LIMITS.m(setting)[1]];
    if (name === "low") return [0, 95];
    if (name === "high") return [setting.low + 5, 100];
    return lab.LIMITS[name](setting);
  }

  // The setting nearest to what is wished; what is no number is as at first. v and s come first: the others hang on them.
  function settlePhases(wished) {
    const setting = { ...FIRST };
    for (const name of ["s", "v", "L", "a", "grammars", "from", "to", "low", "high"]) {
      const wish = wished[name] === undefined || wished[name] === "" ? NaN : globalThis.Laboratory.rounded(name, Number(wished[name]));
      const [least, most] = limits(name, setting);
      setting[name] = Math.min(most, Math.max(least, Number.isFinite(wish) ? wish : FIRST[name]));
    }
    return setting;
  }

  // In the address each entry is called phase_NAME, for the page has other figures.
  const phasesToAddress = (setting) => Object.fromEntries(Object.entries(setting).map(([name, value]) => [`phase_${name}`, value]));
  function phasesFromAddress(search) {
    const all = [...new URLSearchParams(search)].filter(([name]) => name.startsWith("phase_"));
    return { setting: settlePhases(Object.fromEntries(all.map(([name, value]) => [name.slice(6), value]))), asked: all.length > 0 };
  }

  const spread = (low, high, n) => Array.from({ length: n }, (_, k) => low + ((high - low) * k) / (n - 1));

  // {rules, noises, points}: the points [m, eps] of the grid, coarse ones first, so that the picture is soon a rough one.
  function phaseGrid({ from, to, low, high }) {
    const rules = [...new Set(spread(from, to, COLUMNS).map(Math.round))];
    const noises = spread(low / 100, high / 100, ROWS);
    const steps = (i) => [4, 2, 1].findIndex((step) => i % step === 0);
    const all = rules.flatMap((m, i) => noises.map((eps, k) => ({ at: [m, eps], turn: Math.max(steps(i), steps(k)) })));
    return { rules, noises, points: all.sort((a, b) => a.turn - b.turn).map(({ at }) => at) };
  }

  // What becomes of the class at a point: "kept" by more than half, a "trace" of it, or "lost".
  function fate({ kept, error }, v) {
    if (kept > (1 + 1 / v) / 2) return "kept";
    return kept - 1 / v > CERTAIN * error && kept - 1 / v > 1e-3 ? "trace" : "lost";
  }

  // The noise at which the mean field of L levels of even rules has lost half of the class: 0 if it has with none, 1 if never.
  function halfHeight(m, { v, s, L }) {
    const top = (eps) => Engine.meanfield.solve(eps, v, m, s, L).P[L] - (1 + 1 / v) / 2;
    if (top(1) >= 0) return 1;
    let [low, high] = [0, 1];
    for (let i = 0; i < 25; i++) {
      const middle = (low + high) / 2;
      if (top(middle) >= 0) low = middle;
      else high = middle;
    }
    return low;
  }

  // Of each m with both: the noise at which the points fall through half height, between two of them, and the mean field's,
  // which `half` has by m.
  function boundary(setting, { rules, noises }, found, half) {
    const middle = (1 + 1 / setting.v) / 2;
    return rules.flatMap((m) => {
      const kept = noises.map((eps) => found.find(({ at }) => at[0] === m && at[1] === eps)?.kept);
      const k = kept.findIndex((p, i) => i && kept[i - 1] >= middle && p < middle);
      if (k < 1) return [];
      const measured = noises[k - 1] + ((kept[k - 1] - middle) / (kept[k - 1] - kept[k])) * (noises[k] - noises[k - 1]);
      return half.has(m) ? [{ m, measured, theory: half.get(m) }] : [];
    });
  }

  function phaseWords(setting, grid, found, whole, half) {
    if (!found.length) return "Stopped before the first point was done.";
    const count = (name) => found.filter((each) => fate(each, setting.v) === name).length;
    const edge = boundary(setting, grid, found, half);
    const off = edge.reduce((sum, { measured, theory }) => sum + Math.abs(measured - theory), 0) / edge.length;
    const first = whole ? `At ${found.length} points` : `Stopped. At ${found.length} of ${grid.points.length} points`;
    return (
      `${first}, ${setting.grammars} grammars each: the class is kept at ${count("kept")}, leaves a trace at ${count("trace")} and is lost at ` +
      `${count("lost")}. ` +
      (edge.length
        ? `It is half lost from ε = ${edge[0].measured.toFixed(2)} at m = ${edge[0].m} to ${edge.at(-1).measured.toFixed(2)} at m = ${edge.at(-1).m}; ` +
          `the ${setting.a ? "pool of beliefs" : "mean field"} of ${setting.L} levels is ${off.toFixed(3)} off, on average over ${edge.length} numbers of rules.`
        : "No number of rules has both kept and lost it within these noises.")
    );
  }

  function phaseCsv(setting, found) {
    const head = Object.entries(setting).map(([name, value]) => `# ${name} = ${value}`);
    const rows = found.map((each) => [...each.at, each.kept, each.error, fate(each, setting.v)].join(","));
    return [...head, "m,noise,kept,standard_error,class", ...rows, ""].join("\n");
  }

  Object.assign((globalThis.Laboratory ??= {}), {
    settlePhases, limits, phasesToAddress, phasesFromAddress, phaseGrid, fate, halfHeight, boundary, phaseWords, phaseCsv,
  }); // prettier-ignore
})();
if (typeof module !== "undefined") module.exports = globalThis.Laboratory;
