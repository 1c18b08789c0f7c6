// What a worker computes. A job is a generator that takes one object and yields what there is to report, piece by piece.
// Where several workers share it, each takes every `of`-th piece from its `part` on. Rules have the weights of zipf(m, a).
Engine.part((E) => {
  const NOISES = ["EpsilonNoise", "GaussianNoise", "MaskNoise", "UniformNoise"];

  // Overlap of all levels at the noise levels t, figures 5, 6, 7 and 14: one piece a grammar, {grammar, overlap}, where
  // overlap is a Float64Array (t, L+1), the mean over the grammar's data. Rules, data and noise of grammar i are of the
  // streams 3i, 3i+1 and 3i+2 of the seed; the numbers behind the noise are the same at every t.
  function* levelCurves({ v, m, s, L, numClasses = v, a = 0, noise, t, grammars, data = 1, seed = 0, part = 0, of = 1 }) {
    if (!NOISES.includes(noise)) E.refuse("noise", `one of ${NOISES.join(", ")}`, noise);
    if (!t?.length) E.refuse("t", "one noise level or more", t);
    E.whole("grammars", grammars, 1, 2 ** 30);
    E.whole("data", data, 1, 2 ** 20);
    const process = new E[noise](v);
    const weights = E.zipf(m, a);
    for (let i = part; i < grammars; i += of) {
      const g = E.randomGrammar({ v, m, s, L, numClasses, weights, generator: new E.Generator(seed, 3 * i) });
      const x = E.sample(g, data, { generator: new E.Generator(seed, 3 * i + 1) });
      const seen = process.path(x[0], { generator: new E.Generator(seed, 3 * i + 2) });
      const overlap = new Float64Array(t.length * (L + 1));
      for (const [k, each] of t.entries()) {
        const beliefs = E.infer(g, process.evidence(seen(each), each), { messages: false });
        overlap.set(E.overlap(beliefs, x), k * (L + 1));
      }
      yield { grammar: i, overlap };
    }
  }

  // Does the class survive? Exact belief in the true class of the ε-process, at points [m, eps]: one piece a point,
  // {point, kept, error}, the mean over grammars and its standard error. All points of one m have the same grammars, data
  // and random numbers behind the noise.
  function* classPoints({ v, s, L, a = 0, points, grammars, seed = 0, part = 0, of = 1 }) {
    if (!points?.length) E.refuse("points", "one pair [m, eps] or more", points);
    E.whole("grammars", grammars, 2, 2 ** 30);
    const process = new E.EpsilonNoise(v);
    for (let point = part; point < points.length; point += of) {
      const [m, eps] = points[point];
      const weights = E.zipf(m, a);
      const kept = Array.from({ length: grammars }, (_, i) => {
        const g = E.randomGrammar({ v, m, s, L, weights, generator: new E.Generator(seed, 3 * i) });
        const x = E.sample(g, 1, { generator: new E.Generator(seed, 3 * i + 1) });
        const seen = process.path(x[0], { generator: new E.Generator(seed, 3 * i + 2) });
        return E.classPosterior(g, process.evidence(seen(eps), eps)).marginal[x[L][0]];
      });
      const mean = kept.reduce((sum, p) => sum + p, 0) / grammars;
      const square = kept.reduce((sum, p) => sum + (p - mean) ** 2, 0);
      yield { point, kept: mean, error: Math.sqrt(square / (grammars - 1) / grammars) };
    }
  }

  const SIZE = 2 ** 12; // beliefs of a pool; of the seed, the last stream that there is but one

  // The mean field of uneven rules at the noises eps: one piece a noise, {point, up, marginal}, by level.
  function* meanField({ v, m, s, L, a, eps, seed = 0 }) {
    if (!eps?.length) E.refuse("eps", "one noise or more", eps);
    const generator = new E.Generator(seed, 2 ** 32 - 2);
    const at = E.population.poolOfBeliefs(E.zipf(m, a), { v, s, L, size: SIZE, generator });
    for (const [point, each] of eps.entries()) {
      const { up, marginal } = at(each);
      yield { point, up, marginal };
    }
  }

  // Where that mean field has lost half of the class, for each number of rules: one piece each, {m, eps}, within 2^-12.
  function* halfHeights({ v, s, L, a, rules, seed = 0 }) {
    if (!rules?.length) E.refuse("rules", "one number m or more", rules);
    for (const m of rules) {
      const generator = new E.Generator(seed, 2 ** 32 - 2);
      const at = E.population.poolOfBeliefs(E.zipf(m, a), { v, s, L, size: SIZE, onlyUp: true, generator });
      let [low, high] = [0, 1];
      for (let i = 0; i < 12; i++) {
        const middle = (low + high) / 2;
        if (at(middle).up[L] >= (1 + 1 / v) / 2) low = middle;
        else high = middle;
      }
      yield { m, eps: low };
    }
  }

  const poolSize = (each) => Math.min(2 ** 11, Math.max(2 ** 7, Math.round(2 ** 30 / each))); // from what a belief costs

  // The class of any grammar at the noises t, by a pool of beliefs of all symbols: one piece, {kept}, the mean belief in the true
  // class at each. The more rules there are, the smaller is the pool: time is bounded.
  function* classCurve({ v, m, s, L, a = 0, noise, t, seed = 0, size = poolSize(v * m * s * L * t.length) }) {
    if (!NOISES.includes(noise)) E.refuse("noise", `one of ${NOISES.join(", ")}`, noise);
    if (!t?.length) E.refuse("t", "one noise level or more", t);
    const generator = new E.Generator(seed, 2 ** 32 - 2);
    yield { kept: E.evolution.classCurve(new E[noise](v, { dtype: "float64" }), t, E.zipf(m, a), { s, L, size, generator }) };
  }

  E.jobs = { levelCurves, classPoints, meanField, halfHeights, classCurve };
});
