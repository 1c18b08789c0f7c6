// The mean field of the ε-process for rules of unequal weights (hierlib.theory.population): a pool of beliefs, one number
// each. The rule that was used has weight w with probability w; given that, the maps are those of meanfield.js with 1/w in
// place of m, and a new w is drawn at every node.
Engine.part((E) => {
  // What makes a pool of so many beliefs at any noise, always with the same random numbers: a function eps -> {up, down,
  // marginal}, means by level, leaves first; of these up alone with onlyUp. weights: m numbers, for all levels.
  function poolOfBeliefs(weights, { v, s, L, size = 2 ** 13, onlyUp = false, generator }) {
    E.whole("v", v, 2, 64);
    E.whole("s", s, 2, 5);
    E.whole("L", L, 1, 64);
    E.whole("size", size, 1, 2 ** 20);
    E.checkGenerator(generator);
    const pick = () => new Uint32Array(size).map(() => generator.below(size));
    const picks = (many) => Array.from({ length: many }, pick);
    const levels = () => Array.from({ length: L }, () => ({ some: picks(s), w: used(weights, size, generator) }));
    const above = levels();
    const [below, last] = onlyUp ? [] : [levels(), picks(L + 1)];

    return (eps) => {
      E.within("eps", eps, 0, 1);
      const up = [new Float64Array(size).fill(1 - eps + eps / v)];
      for (const { some, w } of above) up.push(F(together(up[up.length - 1], some), w, v, s));
      if (onlyUp) return { up: up.map(mean) };
      const down = [];
      down[L] = new Float64Array(size).fill(1 / v);
      for (let l = L - 1; l >= 0; l--) {
        const { some: [parent, ...siblings], w } = below[l]; // prettier-ignore
        down[l] = G(together(up[l], siblings), together(down[l + 1], [parent]), w, v, s);
      }
      const marginal = down.map((q, l) => mean(both(together(up[l], [last[l]]), q, v)));
      return { up: up.map(mean), down: down.map(mean), marginal };
    };
  }

  // The products of beliefs of a pool, one of each of the picks.
  function together(pool, [first, ...others]) {
    const product = new Float64Array(first.length);
    for (let i = 0; i < first.length; i++) product[i] = pool[first[i]];
    for (const pick of others) for (let i = 0; i < pick.length; i++) product[i] *= pool[pick[i]];
    return product;
  }

  // Upward, over the products P of the children's beliefs.
  function F(P, w, v, s) {
    const n = v ** s - 1;
    for (let i = 0; i < P.length; i++) {
      const [said, u] = [w[i] * P[i], (1 - P[i]) / n];
      P[i] = (said + (1 - w[i]) * u) / (said + (v - w[i]) * u);
    }
    return P;
  }

  // Downward, over the products t of the siblings' beliefs; q is the belief in the parent.
  function G(t, q, w, v, s) {
    const n = v ** s - 1;
    for (let i = 0; i < t.length; i++) {
      const [said, c] = [w[i] * q[i] * t[i], (1 - w[i] * q[i]) / n];
      t[i] = (said + c * (1 - t[i])) / (said + c * (v - t[i]));
    }
    return t;
  }

  // Marginals, over the beliefs p from below.
  function both(p, q, v) {
    for (let i = 0; i < p.length; i++) {
      const [told, other] = [p[i] * q[i], ((1 - p[i]) * (1 - q[i])) / (v - 1)];
      p[i] = told / (told + other);
    }
    return p;
  }

  function mean(pool) {
    let sum = 0;
    for (let i = 0; i < pool.length; i++) sum += pool[i];
    return sum / pool.length;
  }

  // Weights, each as often as it says; their order does not matter, for what they meet is picked at random.
  function used(weights, size, generator) {
    let [k, end] = [0, weights[0]];
    return new Float64Array(size).map((_, i) => {
      const u = (i + generator.uniform()) / size;
      while (u >= end && k < weights.length - 1) end += weights[++k];
      return weights[k];
    });
  }

  E.population = { poolOfBeliefs };
});
