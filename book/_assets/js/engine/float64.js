// The reference kernel of inference: plain loops in float64, one datum after the other (as hierlib/_kernels/torch.py).
//
// A kernel has two functions. Both take a grammar, evidence of the shape (n, s^L, v), priors of the shape (n, numClasses)
// and the number of the first datum, and return {n, logEvidence, root, up, …}, where root, (n, numClasses), is the
// marginal of the class. `infer` has down and marginals too. Each of up, down and marginals is one view a level: the
// number of a symbol at a node, the nodes of all data counted on, is data[place(node) + symbol·step].
Engine.part((E) => {
  const LEAST = 2 ** (16 - 1022); // the smallest evidence or headroom of a datum; see hierlib/_kernels/precision.py

  const refuse = (datum, words) => {
    throw new Error(`evidence: ${words.replace("{}", datum)}`);
  };
  const refuseNumbers = (datum) => refuse(datum, "expected finite non-negative numbers; datum {} has others");
  const impossible = (datum) =>
    refuse(
      datum,
      "expected evidence that the grammar can produce; datum {} is impossible, no string of the grammar (and " +
        "classPrior) has non-zero evidence at every leaf, or evidence within the range of float64",
    );

  // Divide n numbers by their sum, which is returned; zeros stay.
  function normalise(x, at, n) {
    let total = 0;
    for (let k = at; k < at + n; k++) total += x[k];
    if (total > 0) for (let k = at; k < at + n; k++) x[k] /= total;
    return total;
  }

  // Upward messages of one datum, eqs. (7) = (16, 17): up[0] is the evidence, scaled to maximum one here, and up[l], of
  // shape (nodes, symbols), is written. Returns the log of all that was divided out, and the headroom.
  function climb(g, up, datum) {
    const { v, m, s, L } = g;
    let logZ = g.weights ? 0 : (-(g.d - 1) / (s - 1)) * Math.log(m);
    let above = new Float64Array(g.d);
    for (let i = 0; i < g.d; i++) {
      let top = 0;
      for (let k = i * v; k < (i + 1) * v; k++) {
        if (!(up[0][k] >= 0 && up[0][k] < Infinity)) refuseNumbers(datum);
        if (up[0][k] > top) top = up[0][k];
      }
      if (top > 0) for (let k = i * v; k < (i + 1) * v; k++) up[0][k] /= top;
      logZ += Math.log(top);
      above[i] = top > 0 ? 1 : 0;
    }
    for (let level = 1; level <= L; level++) {
      const [rules, children, out, symbols] = [g.rules[level - 1], up[level - 1], up[level], g.numSymbols(level)];
      const weights = g.weights?.[level - 1];
      const below = above;
      above = new Float64Array(g.numNodes(level));
      for (let node = 0; node < above.length; node++) {
        const [first, at] = [node * s * v, node * symbols];
        for (let y = 0, k = 0; y < symbols; y++) {
          let sum = 0;
          for (let q = 0; q < m; q++) {
            let w = children[first + rules[k++]];
            for (let i = 1; i < s; i++) w *= children[first + i * v + rules[k++]];
            sum += weights ? weights[y * m + q] * w : w;
          }
          out[at + y] = sum;
        }
        const total = normalise(out, at, symbols);
        logZ += Math.log(total);
        let headroom = 1;
        for (let i = node * s; i < (node + 1) * s; i++) headroom = Math.min(headroom, below[i]);
        above[node] = Math.min(1, headroom * total);
      }
    }
    return { logZ, headroom: above[0] };
  }

  // What the parents and siblings say of the nodes of a level, not yet normalised, eq. (8).
  function toChildren(g, level, above, children, out) {
    const { v, m, s } = g;
    const [rules, weights, symbols] = [g.rules[level], g.weights?.[level], g.numSymbols(level + 1)];
    out.fill(0);
    for (let node = 0; node < g.numNodes(level + 1); node++) {
      const first = node * s * v;
      for (let y = 0, k = 0; y < symbols; y++) {
        const parent = above[node * symbols + y];
        for (let q = 0; q < m; q++, k += s) {
          const w = weights ? weights[y * m + q] * parent : parent;
          for (let i = 0; i < s; i++) {
            let p = w;
            for (let j = 0; j < s; j++) if (j !== i) p *= children[first + j * v + rules[k + j]];
            out[first + i * v + rules[k + i]] += p;
          }
        }
      }
    }
  }

  const size = (g, l) => g.numNodes(l) * g.numSymbols(l);
  const room = (g, n) => Array.from({ length: g.L + 1 }, (_, l) => new Float64Array(n * size(g, l)));
  const part = (g, levels, b) => levels.map((x, l) => x.subarray(b * size(g, l), (b + 1) * size(g, l)));
  const views = (g, levels) =>
    levels.map((data, l) => ({ data, step: 1, place: (node) => node * g.numSymbols(l) })); // prettier-ignore

  // The way up of all data, and their classes.
  function rise(g, evidence, prior, first) {
    const n = evidence.length / size(g, 0);
    const found = { n, up: room(g, n), root: Float64Array.from(prior), logEvidence: new Float64Array(n), headroom: [] };
    found.up[0].set(evidence);
    for (let b = 0; b < n; b++) {
      const up = part(g, found.up, b);
      const { logZ, headroom } = climb(g, up, first + b);
      for (let y = 0; y < g.numClasses; y++) found.root[b * g.numClasses + y] *= up[g.L][y];
      const total = normalise(found.root, b * g.numClasses, g.numClasses);
      if (!(headroom * total >= LEAST)) impossible(first + b);
      found.logEvidence[b] = logZ + Math.log(total);
    }
    return found;
  }

  function upward(g, evidence, prior, first) {
    const found = rise(g, evidence, prior, first);
    return { ...found, up: views(g, found.up) };
  }

  function infer(g, evidence, prior, first) {
    const { n, up: ups, root, logEvidence } = rise(g, evidence, prior, first);
    const [downs, marginals] = [room(g, n), room(g, n)];
    downs[g.L].set(prior);
    marginals[g.L].set(root);
    for (let b = 0; b < n; b++) {
      const [up, down, marginal] = [part(g, ups, b), part(g, downs, b), part(g, marginals, b)];
      for (let level = g.L - 1; level >= 0; level--) {
        const [below, from, here] = [up[level], down[level], marginal[level]];
        toChildren(g, level, down[level + 1], below, from);
        for (let at = 0; at < from.length; at += g.v) {
          const norm = normalise(from, at, g.v);
          for (let k = at; k < at + g.v; k++) here[k] = below[k] * from[k];
          if (!(norm * normalise(here, at, g.v) >= LEAST)) impossible(first + b);
        }
      }
    }
    const [up, down, all] = [ups, downs, marginals].map((levels) => views(g, levels));
    return { n, root, logEvidence, up, down, marginals: all };
  }

  E.float64 = { upward, infer };
});
