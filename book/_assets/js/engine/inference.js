// Exact inference on the tree: belief propagation and posterior sampling, whatever the noise was (hierlib.inference).
Engine.part((E) => {
  const LEAST = 2 ** (16 - 1022); // the smallest evidence or headroom of a datum; see hierlib/_kernels/precision.py

  // What infer returns; each of the first three has one array a level, (batch, s^(L-l), symbols).
  class Beliefs {
    constructor(g, batch, { up, down, marginals, logEvidence }) {
      Object.assign(this, { g, batch, up, down, marginals, logEvidence });
    }

    // What one kind, "up", "down" or "marginals", says of a datum: [level][node], each an array of a number a symbol.
    rows(kind, datum = 0) {
      return this[kind].map((x, level) => {
        const [nodes, n] = [this.g.numNodes(level), this.g.numSymbols(level)];
        return Array.from({ length: nodes }, (_, i) => x.subarray((datum * nodes + i) * n, (datum * nodes + i + 1) * n));
      });
    }
  }

  const refuseEvidence = (datum, rest) => {
    throw new Error(`evidence: ${rest.replace("{}", datum)}`);
  };

  // Divide a row of numbers by their sum, which is returned; zeros stay.
  function normalise(x, at, n) {
    let total = 0;
    for (let k = at; k < at + n; k++) total += x[k];
    if (total > 0) for (let k = at; k < at + n; k++) x[k] /= total;
    return total;
  }

  // Upward messages of one datum, eqs. (7) = (16, 17): up[0] is the evidence, scaled to maximum one, and up[l] of shape
  // (nodes, symbols) is written. Returns the log of all that was divided out, and the headroom.
  function upward(g, up, datum) {
    const { v, m, s, L } = g;
    let logZ = (-(g.d - 1) / (s - 1)) * Math.log(m);
    let above = new Float64Array(g.d);
    for (let i = 0; i < g.d; i++) {
      let top = 0;
      for (let k = i * v; k < (i + 1) * v; k++) {
        if (!(up[0][k] >= 0 && up[0][k] < Infinity))
          refuseEvidence(datum, "expected finite non-negative numbers; datum {} has others");
        if (up[0][k] > top) top = up[0][k];
      }
      if (top !== 1 && top > 0) for (let k = i * v; k < (i + 1) * v; k++) up[0][k] /= top;
      logZ += Math.log(top);
      above[i] = top > 0 ? 1 : 0;
    }
    for (let level = 1; level <= L; level++) {
      const [rules, children, out, symbols] = [g.rules[level - 1], up[level - 1], up[level], g.numSymbols(level)];
      const below = above;
      above = new Float64Array(g.numNodes(level));
      for (let node = 0; node < above.length; node++) {
        const [first, at] = [node * s * v, node * symbols];
        for (let y = 0, k = 0; y < symbols; y++) {
          let sum = 0;
          for (let q = 0; q < m; q++) {
            let w = children[first + rules[k++]];
            for (let i = 1; i < s; i++) w *= children[first + i * v + rules[k++]];
            sum += w;
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
    const [rules, symbols] = [g.rules[level], g.numSymbols(level + 1)];
    out.fill(0);
    for (let node = 0; node < g.numNodes(level + 1); node++) {
      const first = node * s * v;
      for (let y = 0, k = 0; y < symbols; y++) {
        const w = above[node * symbols + y];
        for (let q = 0; q < m; q++, k += s)
          for (let i = 0; i < s; i++) {
            let p = w;
            for (let j = 0; j < s; j++) if (j !== i) p *= children[first + j * v + rules[k + j]];
            out[first + i * v + rules[k + i]] += p;
          }
      }
    }
  }

  // How many data the evidence, (batch, s^L, v), is of.
  function checkEvidence(g, evidence) {
    if (!(g instanceof E.Grammar)) E.refuse("g", "an Engine.Grammar", g);
    if (!ArrayBuffer.isView(evidence) && !Array.isArray(evidence)) E.refuse("evidence", "an array of numbers", evidence);
    const batch = evidence.length / (g.d * g.v);
    if (!Number.isInteger(batch) || !batch) E.refuse("evidence", `a multiple of s^L·v = ${g.d}·${g.v} numbers`, evidence);
    return batch;
  }

  // (batch, numClasses), normalised: uniform if none is given.
  function normalisedPrior(g, batch, prior) {
    const out = new Float64Array(batch * g.numClasses);
    if (prior === null) return out.fill(1 / g.numClasses);
    if (prior.length !== g.numClasses && prior.length !== out.length)
      E.refuse("classPrior", `${g.numClasses} numbers, or as many a datum`, prior);
    for (let b = 0; b < batch; b++) {
      const row = Array.from(prior.slice((b * g.numClasses) % prior.length).slice(0, g.numClasses));
      const top = Math.max(...row);
      if (!(row.every((p) => p >= 0 && p < Infinity) && top > 0))
        E.complain("classPrior", "finite non-negative numbers, not all zero", `row ${b}`);
      out.set(row.map((p) => p / top), b * g.numClasses); // prettier-ignore
      normalise(out, b * g.numClasses, g.numClasses);
    }
    return out;
  }

  // One array a level, and the part of each that is one datum's.
  const room = (g, batch) =>
    Array.from({ length: g.L + 1 }, (_, l) => new Float64Array(batch * g.numNodes(l) * g.numSymbols(l)));
  const part = (g, levels, b) =>
    levels.map((x, l) => x.subarray(b * g.numNodes(l) * g.numSymbols(l), (b + 1) * g.numNodes(l) * g.numSymbols(l)));

  // The way up of one datum, and its class: marginal, log evidence and headroom.
  function toClass(g, up, prior, datum) {
    const { logZ, headroom } = upward(g, up, datum);
    const root = up[g.L].map((p, y) => p * prior[y]);
    const total = normalise(root, 0, g.numClasses);
    if (!(headroom * total >= LEAST)) impossible(datum);
    return { root, logEvidence: logZ + Math.log(total), headroom: headroom * total };
  }

  const impossible = (datum) =>
    refuseEvidence(
      datum,
      "expected evidence that the grammar can produce; datum {} is impossible, no string of the grammar (and " +
        "classPrior) has non-zero evidence at every leaf, or evidence within the range of float64",
    );

  // The exact posterior of every symbol of the tree, eqs. (7, 8) = (16-19). evidence: (batch, s^L, v), finite and not
  // negative, in any normalisation. logEvidence is log Σ_x p(x) Π_i evidence_i(x_i), (batch).
  function infer(g, evidence, { classPrior = null } = {}) {
    const batch = checkEvidence(g, evidence);
    const prior = normalisedPrior(g, batch, classPrior);
    const [ups, downs, marginals] = [room(g, batch), room(g, batch), room(g, batch)];
    const logEvidence = new Float64Array(batch);
    ups[0].set(evidence);
    downs[g.L].set(prior);
    for (let b = 0; b < batch; b++) {
      const [up, down, marginal] = [part(g, ups, b), part(g, downs, b), part(g, marginals, b)];
      const top = toClass(g, up, down[g.L], b);
      logEvidence[b] = top.logEvidence;
      marginal[g.L].set(top.root);
      for (let level = g.L - 1; level >= 0; level--) {
        const [below, from, here] = [up[level], down[level], marginal[level]];
        toChildren(g, level, down[level + 1], below, from);
        for (let at = 0; at < from.length; at += g.v) {
          let least = normalise(from, at, g.v);
          for (let k = at; k < at + g.v; k++) here[k] = below[k] * from[k];
          least *= normalise(here, at, g.v);
          if (!(least >= LEAST)) impossible(b);
        }
      }
    }
    ups[0] = Float64Array.from(evidence);
    return new Beliefs(g, batch, { up: ups, down: downs, marginals, logEvidence });
  }

  // Only the way up: {marginal, (batch, numClasses), and logEvidence, (batch)}.
  function classPosterior(g, evidence, { classPrior = null } = {}) {
    const batch = checkEvidence(g, evidence);
    const prior = normalisedPrior(g, batch, classPrior);
    const up = room(g, 1);
    const found = { marginal: new Float64Array(prior.length), logEvidence: new Float64Array(batch) };
    for (let b = 0; b < batch; b++) {
      up[0].set(evidence.slice(b * g.d * g.v, (b + 1) * g.d * g.v));
      const [from, to] = [b * g.numClasses, (b + 1) * g.numClasses];
      const { root, logEvidence } = toClass(g, up, prior.subarray(from, to), b);
      found.marginal.set(root, from);
      found.logEvidence[b] = logEvidence;
    }
    return found;
  }

  // Draw whole data, with all their latent symbols, from the exact posterior: one Int32Array a level, (batch, numSamples,
  // s^(L-l)). Draw after draw takes one number a node from the generator. With `first`, data as of sample, the choice of
  // those lies first in [0, 1): the same numbers keep at another noise what they kept here, as long as it is as likely.
  function posteriorSample(g, evidence, { numSamples = 1, generator, classPrior = null, first = null }) {
    E.whole("numSamples", numSamples, 1, Infinity);
    E.checkGenerator(generator);
    const batch = checkEvidence(g, evidence);
    const prior = normalisedPrior(g, batch, classPrior);
    const up = room(g, 1);
    const y = up.map((_, l) => new Int32Array(batch * numSamples * g.numNodes(l)));
    const weights = new Float64Array(Math.max(g.m, g.numClasses));
    for (let b = 0; b < batch; b++) {
      up[0].set(evidence.slice(b * g.d * g.v, (b + 1) * g.d * g.v));
      const { root } = toClass(g, up, prior.subarray(b * g.numClasses, (b + 1) * g.numClasses), b);
      for (let draw = b * numSamples; draw < (b + 1) * numSamples; draw++) {
        weights.set(root);
        y[g.L][draw] = choose(weights, g.numClasses, first ? first[g.L][b] : 0, generator.uniform());
        for (let level = g.L - 1; level >= 0; level--) {
          const nodes = g.numNodes(level + 1);
          for (let node = 0; node < nodes; node++) {
            const symbol = y[level + 1][draw * nodes + node];
            weigh(g, level, symbol, up[level], node * g.s * g.v, weights);
            const start = first ? ruleOf(g, level, symbol, first[level], (b * nodes + node) * g.s) : 0;
            const which = choose(weights, g.m, start, generator.uniform());
            E.write(g, level, symbol, which, y[level], (draw * nodes + node) * g.s);
          }
        }
      }
    }
    return y;
  }

  // How well the children bear out each rule of a symbol.
  function weigh(g, level, symbol, children, at, weights) {
    const rules = g.rules[level];
    for (let q = 0, k = symbol * g.m * g.s; q < g.m; q++) {
      let w = children[at + rules[k++]];
      for (let i = 1; i < g.s; i++) w *= children[at + i * g.v + rules[k++]];
      weights[q] = w;
    }
  }

  // The rule of a symbol that makes these children; 0 if none does.
  function ruleOf(g, level, symbol, x, at) {
    for (let q = 0; q < g.m; q++) {
      let i = 0;
      while (i < g.s && g.rules[level][(symbol * g.m + q) * g.s + i] === x[at + i]) i++;
      if (i === g.s) return q;
    }
    return 0;
  }

  // The choice at u in (0, 1) if the n choices, from the first one on and round again, are laid out by their weights.
  function choose(weights, n, first, u) {
    let total = 0;
    for (let k = 0; k < n; k++) total += weights[k];
    let [rest, last] = [u * total, first];
    for (let i = 0; i < n; i++) {
      const k = first + i < n ? first + i : first + i - n;
      if (!(weights[k] > 0)) continue;
      last = k;
      rest -= weights[k];
      if (rest < 0) break;
    }
    return last;
  }

  // Probability of the symbols x, data as of sample, at each level: the mean of the marginals at them, (L+1).
  function overlap(beliefs, x) {
    const { g, batch } = beliefs;
    if (x?.length !== g.L + 1) E.refuse("x", `${g.L + 1} levels, leaves first`, x?.length);
    return Float64Array.from(x, (symbols, l) => {
      if (symbols.length !== batch * g.numNodes(l)) E.refuse(`x[${l}]`, `${batch}·${g.numNodes(l)} symbols`, symbols);
      const n = g.numSymbols(l);
      let total = 0;
      for (let i = 0; i < symbols.length; i++) total += beliefs.marginals[l][i * n + symbols[i]];
      return total / symbols.length;
    });
  }

  Object.assign(E, { Beliefs, infer, classPosterior, posteriorSample, overlap });
});
