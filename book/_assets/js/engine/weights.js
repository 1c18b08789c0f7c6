// Rules that are not equally probable: a probability for each of a symbol's m rules (Grammar.weights of hierlib).
Engine.part((E) => {
  const SUM = 1e-9; // how far from one a distribution may sum

  // Zipf's law: m weights ∝ k^-a that add up to one; a = 0 is uniform.
  function zipf(m, a) {
    E.whole("m", m, 1, 2 ** 20);
    if (!Number.isFinite(a)) E.refuse("a", "a finite number", a);
    const logs = Float64Array.from({ length: m }, (_, k) => -a * Math.log(k + 1));
    const top = Math.max(logs[0], logs[m - 1]);
    const w = logs.map((x) => Math.exp(x - top));
    const total = w.reduce((sum, x) => sum + x, 0);
    return w.map((x) => x / total);
  }

  // Σ k^-b over k = 1 … m: the first terms, and Euler and Maclaurin's formula for the others.
  function powerSum(m, b) {
    const near = Math.min(m, 32);
    let sum = 0;
    for (let k = 1; k <= near; k++) sum += k ** -b;
    if (near === m) return sum;
    const between = b === 1 ? Math.log(m / near) : (m ** (1 - b) - near ** (1 - b)) / (1 - b);
    const ends = (power) => m ** -power - near ** -power;
    return sum + between + ends(b) / 2 - (b / 12) * ends(b + 1) + ((b * (b + 1) * (b + 2)) / 720) * ends(b + 3);
  }

  // The weights of a grammar, one Float64Array (symbols of level l+1, m) a level, from m numbers for all its symbols, or
  // for each level m numbers or a table, flat or nested; null if none are given, or all are exactly 1/m.
  function checkWeights(given, g) {
    if (given === null || given === undefined) return null;
    const levels = typeof given[0] === "number" ? Array(g.L).fill(given) : given;
    if (levels?.length !== g.L) E.refuse("weights", `${g.m} numbers, or one table a level, L = ${g.L}`, given);
    const found = Array.from(levels, (table, l) => {
      const flat = Array.isArray(table) ? table.flat() : table;
      const size = g.numSymbols(l + 1) * g.m;
      if (flat?.length !== g.m && flat?.length !== size)
        E.refuse(`weights[${l}]`, `${g.m} probabilities, or ${g.numSymbols(l + 1)}·${g.m}`, flat);
      for (let at = 0; at < flat.length; at += g.m) {
        let total = 0;
        for (let k = at; k < at + g.m; k++) total += E.within(`weights[${l}]`, flat[k], 0, 1 + SUM);
        if (Math.abs(total - 1) > SUM) E.refuse(`weights[${l}]`, `probabilities that add up to one within ${SUM}`, total);
      }
      return Float64Array.from({ length: size }, (_, k) => flat[k % flat.length]);
    });
    return found.every((table) => table.every((w) => w === 1 / g.m)) ? null : found;
  }

  // The choice at u in (0, 1) if n choices, from the first one on and round again, are laid out by their weights, which
  // begin at a place in an array.
  function choose(weights, n, first, u, at = 0) {
    let total = 0;
    for (let k = at; k < at + n; k++) total += weights[k];
    let [rest, last] = [u * total, first];
    for (let i = 0; i < n; i++) {
      const k = first + i < n ? first + i : first + i - n;
      if (!(weights[at + k] > 0)) continue;
      last = k;
      rest -= weights[at + k];
      if (rest < 0) break;
    }
    return last;
  }

  Object.assign(E, { zipf, powerSum, checkWeights, choose });
});
