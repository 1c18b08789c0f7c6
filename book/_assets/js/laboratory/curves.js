// What is read off curves: means over grammars with bands, half height, crossing, best-kept level; and their data.
// Pieces are what Engine.jobs.levelCurves reports, {grammar, overlap}; a curve is an array over the noise levels.
(() => {
  // Student's t for 95 % and n - 1 degrees of freedom, within a percent from n = 4 on (Cornish and Fisher).
  function quantile(n) {
    const [z, k] = [1.959964, n - 1];
    if (k < 3) return [Infinity, 12.706, 4.303][k];
    const third = (3 * z ** 7 + 19 * z ** 5 + 17 * z ** 3 - 15 * z) / (384 * k ** 3);
    return z + (z ** 3 + z) / (4 * k) + (5 * z ** 5 + 16 * z ** 3 + 3 * z) / (96 * k ** 2) + third;
  }

  // {n, mean, half}: of each level and noise, [level][noise], the mean over grammars and half the width of its band.
  function summary(pieces, L, points) {
    const n = pieces.length;
    const [mean, square] = [new Float64Array(points * (L + 1)), new Float64Array(points * (L + 1))];
    for (const { overlap } of pieces) for (let at = 0; at < mean.length; at++) mean[at] += overlap[at];
    for (let at = 0; at < mean.length; at++) mean[at] /= n;
    for (const { overlap } of pieces) for (let at = 0; at < mean.length; at++) square[at] += (overlap[at] - mean[at]) ** 2;
    const width = quantile(n);
    const each = (make) => Array.from({ length: L + 1 }, (_, l) => Array.from({ length: points }, (_, k) => make(k * (L + 1) + l)));
    const half = (at) => (n > 1 ? width * Math.sqrt(square[at] / (n - 1) / n) : Infinity);
    return { n, mean: each((at) => mean[at]), half: each(half) };
  }

  // Where between two noise levels: evenly, or evenly in the logarithm.
  const between = (a, b, u, log) => (log ? a * (b / a) ** u : a + u * (b - a));

  // The first noise at which a curve falls through a height; null if it does not.
  function falls(t, y, height, log) {
    const k = y.findIndex((value, i) => i && value < height && y[i - 1] >= height);
    return k < 1 ? null : between(t[k - 1], t[k], (y[k - 1] - height) / (y[k - 1] - y[k]), log);
  }

  const LEAD = 1e-3; // what is less is no lead, as in hierlib.experiments.leads

  // The last noise at which the class falls behind the leaves, having led, while they are still above chance; or null.
  function crossing(t, top, leaves, chance, log) {
    let [found, lead] = [null, 0];
    for (let k = 1; k < t.length; k++) {
      const [before, after] = [top[k - 1] - leaves[k - 1], top[k] - leaves[k]];
      lead = Math.max(lead, before);
      if (lead > LEAD && before > 0 && after <= 0 && leaves[k] > chance + 0.02)
        found = between(t[k - 1], t[k], before / (before - after), log);
    }
    return found;
  }

  // Numbers read off two mean curves, each with its 95 % interval: grammars are drawn again with replacement. `rows` has
  // two curves a grammar, read(a, b) gives the numbers, null for one that there is not. It yields every few draws.
  function* intervals(rows, read, generator, times = 200) {
    const points = rows[0][0].length;
    const curves = (pick) => {
      const [first, second] = [new Float64Array(points), new Float64Array(points)];
      const often = new Uint32Array(rows.length); // each grammar is drawn
      for (let i = 0; i < rows.length; i++) often[pick(i)]++;
      for (let i = 0; i < rows.length; i++) {
        if (!often[i]) continue;
        const [share, [a, b]] = [often[i] / rows.length, rows[i]];
        for (let k = 0; k < points; k++) first[k] += share * a[k];
        for (let k = 0; k < points; k++) second[k] += share * b[k];
      }
      return [first, second];
    };
    const drawn = [];
    while (rows.length > 1 && drawn.length < times) {
      if (drawn.length % 20 === 0) yield;
      drawn.push(read(...curves(() => generator.below(rows.length))));
    }
    return read(...curves((i) => i)).map((value, j) => {
      const known = drawn.map((all) => all[j]).filter((x) => x !== null).sort((a, b) => a - b); // prettier-ignore
      const at = (share) => (value === null ? null : (known[Math.round(share * (known.length - 1))] ?? null));
      return { value, lo: at(0.025), hi: at(0.975) };
    });
  }

  // Where the class is furthest ahead of the leaves on average: by how much, {value, half, most}, with half the width of its band,
  // and the largest lead at any noise that these bands leave possible.
  function lead(rows) {
    const n = rows.length;
    const bands = Array.from(rows[0][0].keys(), (k) => {
      const value = rows.reduce((sum, [top, leaves]) => sum + top[k] - leaves[k], 0) / n;
      const square = rows.reduce((sum, [top, leaves]) => sum + (top[k] - leaves[k] - value) ** 2, 0);
      return { value, half: n > 1 ? quantile(n) * Math.sqrt(square / (n - 1) / n) : Infinity };
    });
    const most = Math.max(...bands.map(({ value, half }) => value + half));
    return { ...bands.reduce((a, b) => (b.value > a.value ? b : a)), most };
  }

  // All that the page says of a setting: {t, n, mean, half, lead, top, cross, best}, where top is the class's half height and
  // best the level that is kept best where class and leaves cross, or there if they don't. Of many grammars it takes a phone
  // longer than a frame, so it yields between parts of the work, and returns them.
  function* resultsInParts(setting, t, pieces, log) {
    const { v, L, seed } = setting;
    const found = summary(pieces, L, t.length);
    const level = ({ overlap }, l) => Float64Array.from(t, (_, k) => overlap[k * (L + 1) + l]);
    const rows = pieces.map((piece) => [level(piece, L), level(piece, 0)]);
    const read = (a, b) => [falls(t, a, (1 + 1 / v) / 2, log), crossing(t, a, b, 1 / v, log)];
    const [top, cross] = yield* intervals(rows, read, new Engine.Generator(seed, 2 ** 32 - 1));
    const at = cross.value ?? top.value;
    return { t, ...found, lead: lead(rows), top, cross, best: at === null ? null : best(t, found.mean, at, log) };
  }

  function results(...all) {
    const parts = resultsInParts(...all);
    for (;;) {
      const { done, value } = parts.next();
      if (done) return value;
    }
  }

  // The level that is kept best at a noise, and how well: {level, kept, at}.
  function best(t, mean, at, log) {
    const k = Math.max(1, t.findIndex((x) => x >= at));
    const [a, b, x] = log ? [t[k - 1], t[k], at].map(Math.log) : [t[k - 1], t[k], at];
    const kept = mean.map((y) => y[k - 1] + ((x - a) / (b - a)) * (y[k] - y[k - 1]));
    const level = kept.indexOf(Math.max(...kept));
    return { level, kept: kept[level], at };
  }

  // Data to take along: a row a noise and level.
  function csv(setting, found) {
    const head = Object.entries(setting).map(([name, value]) => `# ${name} = ${value}`);
    const rows = found.t.flatMap((t, k) =>
      found.mean.map((y, level) => [t, level, y[k], found.half[level][k]].map((x) => (Number.isFinite(x) ? String(x) : "")).join(",")),
    );
    return [...head, "noise,level,kept,half_width_of_95_percent_interval", ...rows, ""].join("\n");
  }
  const json = (setting, found) => JSON.stringify({ setting, ...found }, (_, x) => (Number.isFinite(x) || typeof x !== "number" ? x : null));

  Object.assign((globalThis.Laboratory ??= {}), { quantile, summary, falls, crossing, intervals, results, resultsInParts, csv, json, LEAD });
})();
if (typeof module !== "undefined") module.exports = globalThis.Laboratory;
