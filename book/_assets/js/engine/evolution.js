// Population dynamics upward, for any noise (density_evolution of hierlib.theory.population): a pool of beliefs of all symbols,
// whose true symbol is named 0. Every node has rules of its own, drawn anew, so that no grammar is left: what leaves of a noise
// say of their symbol becomes what the class is known by.
Engine.part((E) => {
  // The mean belief in the true class at each of the noises t of a process, which share all random numbers. weights: m numbers, for
  // all levels; size: beliefs of a pool.
  function classCurve(process, t, weights, { s, L, size = 2 ** 11, generator }) {
    const { v } = process;
    const m = weights.length;
    E.checkParameters({ v, m, s, L: 1, numClasses: v }); // any depth will do: there is no tree
    E.whole("L", L, 1, 12);
    E.whole("size", size, 1, 2 ** 20);
    E.checkGenerator(generator);
    const seen = process.path(new Int32Array(size), { generator: new E.Generator(generator.bits(), generator.bits()) });
    let pools = t.map((each) => process.evidence(seen(each), each));
    const [planted, law] = [plantedRules({ v, m, s, generator }), Float64Array.from({ length: v * m }, (_, r) => weights[r % m])];
    for (let l = 0; l < L; l++) {
      const above = t.map(() => new Float64Array(size * v));
      const orders = Array.from({ length: s }, () => shuffled(size, generator)); // each belief is that of s children, once of each
      for (let i = 0; i < size; i++) {
        const rules = planted();
        const used = E.choose(weights, m, 0, (i + generator.uniform()) / size); // as often as its weight says
        [law[0], law[used]] = [law[used], law[0]];
        const children = orders.map((order) => order[i] * v);
        for (let k = 0; k < t.length; k++) explain(pools[k], children, rules, law, v, above[k], i * v);
        [law[0], law[used]] = [law[used], law[0]];
      }
      pools = above;
    }
    return pools.map((pool) => {
      let sum = 0;
      for (let at = 0; at < pool.length; at += v) sum += pool[at];
      return sum / size;
    });
  }

  function shuffled(size, generator) {
    const order = Uint32Array.from({ length: size }, (_, i) => i);
    for (let i = size - 1; i > 0; i--) {
      const j = generator.below(i + 1);
      [order[i], order[j]] = [order[j], order[i]];
    }
    return order;
  }

  // Eqs. (16, 17): what the beliefs of a pool in a node's children, which begin at these places, say of its symbol: v numbers of
  // out, from a place on.
  function explain(pool, children, rules, law, v, out, place) {
    const [s, m, [first, second]] = [children.length, law.length / v, children];
    let total = 0;
    for (let y = 0, r = 0, at = 0; y < v; y++) {
      let sum = 0;
      for (const end = r + m; r < end; r++, at += s) {
        let weight = law[r] * pool[first + rules[at]] * pool[second + rules[at + 1]];
        for (let i = 2; i < s; i++) weight *= pool[children[i] + rules[at + i]];
        sum += weight;
      }
      total += out[place + y] = sum;
    }
    if (!(total > 0)) E.complain("noise", "evidence that some rule explains", "beliefs that exclude all symbols");
    for (let y = 0; y < v; y++) out[place + y] /= total;
  }

  // A function that draws the rules around a node: those of its true symbol, and of its children's, are named 0, so the first rule of
  // the first symbol is (0, …, 0); the others are uniform among the other tuples, without replacement. It gives always the same
  // Uint8Array (v, m, s).
  function plantedRules({ v, m, s, generator }) {
    const codes = new Uint32Array(v ** s - 1).map((_, i) => i + 1); // in any order; that of the draw before will do
    const rules = new Uint8Array(v * m * s);
    return () => {
      for (let k = 0; k < v * m - 1; k++) {
        const at = k + generator.below(codes.length - k);
        let code = codes[at];
        codes[at] = codes[k];
        codes[k] = code;
        for (let i = s - 1; i >= 0; i--) {
          rules[(k + 1) * s + i] = code % v;
          code = (code / v) | 0;
        }
      }
      return rules;
    };
  }

  E.evolution = { classCurve };
});
