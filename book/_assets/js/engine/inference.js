// Exact inference on the tree: belief propagation and posterior sampling, whatever the noise was (hierlib.inference).
//
// The type of the evidence decides, as it does in hierlib: Float32Array is handled in float32 where the browser has the
// instructions, and again in float64 if its numbers leave the range; all else is handled in float64.
Engine.part((E) => {
  const TOGETHER = 1024; // leaves that a kernel takes at once, of one datum or of several

  // What infer returns. up, down and marginals are one array a level, (batch, s^(L-l), symbols), copied out of the
  // kernel's layout when one first asks for them; logEvidence is (batch). up and down are null without messages.
  class Beliefs {
    constructor(g, evidence, chunks) {
      Object.assign(this, { g, evidence, chunks, batch: chunks.reduce((sum, chunk) => sum + chunk.n, 0), copies: {} });
      this.logEvidence = Float64Array.from(chunks.flatMap((chunk) => [...chunk.logEvidence]));
    }

    get up() {
      return this.levels("up");
    }

    get down() {
      return this.levels("down");
    }

    get marginals() {
      return this.levels("marginals");
    }

    levels(kind) {
      if (!this.chunks[0][kind]) return null;
      this.copies[kind] ??= Array.from({ length: this.g.L + 1 }, (_, level) => {
        if (kind === "up" && !level) return this.evidence; // as it was given
        const [nodes, symbols] = [this.g.numNodes(level), this.g.numSymbols(level)];
        const out = new this.chunks[0][kind][level].data.constructor(this.batch * nodes * symbols);
        let at = 0;
        for (const chunk of this.chunks) {
          const { data, step, place } = chunk[kind][level];
          for (let node = 0; node < chunk.n * nodes; node++)
            for (let y = 0, k = place(node); y < symbols; y++, k += step) out[at++] = data[k];
        }
        return out;
      });
      return this.copies[kind];
    }

    // What one kind, "up", "down" or "marginals", says of a datum: [level][node], each an array of a number a symbol.
    rows(kind, datum = 0) {
      return this[kind].map((x, level) => {
        const [nodes, n] = [this.g.numNodes(level), this.g.numSymbols(level)];
        return Array.from({ length: nodes }, (_, i) => x.slice((datum * nodes + i) * n, (datum * nodes + i + 1) * n));
      });
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

  // Data as of sample: symbols of every level.
  function checkData(name, g, x, batch) {
    if (x?.length !== g.L + 1) E.refuse(name, `${g.L + 1} levels, leaves first`, x?.length);
    for (const [level, symbols] of x.entries()) {
      const n = E.checkSymbols(`${name}[${level}]`, symbols, g.numSymbols(level));
      if (n !== batch * g.numNodes(level)) E.refuse(`${name}[${level}]`, `${batch}·${g.numNodes(level)} symbols`, symbols);
    }
  }

  // (batch, numClasses), normalised: uniform if none is given.
  function normalisedPrior(g, batch, prior) {
    const n = g.numClasses;
    const out = new Float64Array(batch * n);
    if (prior === null) return out.fill(1 / n);
    if (prior.length !== n && prior.length !== out.length) E.refuse("classPrior", `${n} numbers, or as many a datum`, prior);
    for (let b = 0; b < batch; b++) {
      const row = Array.from(prior.slice((b * n) % prior.length).slice(0, n));
      const top = Math.max(...row);
      if (!(row.every((p) => p >= 0 && p < Infinity) && top > 0))
        E.complain("classPrior", "finite non-negative numbers, not all zero", `row ${b}`);
      const total = row.reduce((sum, p) => sum + p / top, 0);
      out.set(row.map((p) => p / top / total), b * n); // prettier-ignore
    }
    return out;
  }

  // What a kernel's function makes of the evidence, chunk by chunk.
  function* run(name, g, evidence, classPrior, messages) {
    const batch = checkEvidence(g, evidence);
    const prior = normalisedPrior(g, batch, classPrior);
    const most = Math.max(1, Math.floor(TOGETHER / g.d));
    for (let b = 0; b < batch; b += most) {
      const end = Math.min(batch, b + most);
      const seen = batch <= most ? evidence : evidence.slice(b * g.d * g.v, end * g.d * g.v);
      const priors = prior.subarray(b * g.numClasses, end * g.numClasses);
      const fast = evidence instanceof Float32Array ? E.float32?.[name](g, seen, priors, messages) : null;
      yield fast ?? E.float64[name](g, seen, priors, b);
    }
  }

  // The exact posterior of every symbol of the tree, eqs. (7, 8) = (16-19). evidence: (batch, s^L, v), finite and not
  // negative, in any normalisation. logEvidence is log Σ_x p(x) Π_i evidence_i(x_i), (batch). up[0] is the evidence as it
  // was given, all other messages add up to one. messages: false gives the marginals only.
  function infer(g, evidence, { classPrior = null, messages = true } = {}) {
    const chunks = [...run("infer", g, evidence, classPrior, messages)];
    return new Beliefs(g, evidence, messages ? chunks : chunks.map((chunk) => ({ ...chunk, up: null, down: null })));
  }

  // Only the way up: {marginal, (batch, numClasses), and logEvidence, (batch)}.
  function classPosterior(g, evidence, { classPrior = null } = {}) {
    const chunks = [...run("upward", g, evidence, classPrior)];
    const all = (name) => Float64Array.from(chunks.flatMap((chunk) => [...chunk[name]]));
    return { marginal: all("root"), logEvidence: all("logEvidence") };
  }

  // Draw whole data, with all their latent symbols, from the exact posterior: one Int32Array a level, (batch, numSamples,
  // s^(L-l)). Draw after draw takes one number a node from the generator. With `first`, data as of sample, the choice of
  // those lies first in [0, 1): the same numbers keep at another noise what they kept here, as long as it is as likely.
  function posteriorSample(g, evidence, { numSamples = 1, generator, classPrior = null, first = null }) {
    E.whole("numSamples", numSamples, 1, Infinity);
    E.checkGenerator(generator);
    const batch = checkEvidence(g, evidence);
    if (first) checkData("first", g, first, batch);
    const draws = batch * numSamples;
    const y = Array.from({ length: g.L + 1 }, (_, l) => new Int32Array(draws * g.numNodes(l)));
    let b = 0;
    for (const { n, up, root } of run("upward", g, evidence, classPrior))
      for (let k = 0; k < n; k++, b++)
        for (let draw = b * numSamples; draw < (b + 1) * numSamples; draw++) {
          const classes = root.subarray(k * g.numClasses, (k + 1) * g.numClasses);
          y[g.L][draw] = E.choose(classes, g.numClasses, first ? first[g.L][b] : 0, generator.uniform());
          descend(g, up, k, y, draw, first, b, generator);
        }
    return y;
  }

  // The levels below the class of one draw: datum k of the views, b of all.
  function descend(g, up, k, y, draw, first, b, generator) {
    const weights = new Float64Array(g.m);
    for (let level = g.L - 1; level >= 0; level--) {
      const [nodes, rules, own, { data, step, place }] = [g.numNodes(level + 1), g.rules[level], g.weights?.[level], up[level]];
      for (let node = 0; node < nodes; node++) {
        const symbol = y[level + 1][draw * nodes + node];
        if (own) for (let q = 0; q < g.m; q++) weights[q] = own[symbol * g.m + q];
        else weights.fill(1);
        for (let i = 0; i < g.s; i++) {
          const at = place((k * nodes + node) * g.s + i);
          for (let q = 0, r = symbol * g.m * g.s + i; q < g.m; q++, r += g.s) weights[q] *= data[at + rules[r] * step];
        }
        const start = first ? ruleOf(g, level, symbol, first[level], (b * nodes + node) * g.s) : 0;
        E.write(g, level, symbol, E.choose(weights, g.m, start, generator.uniform()), y[level], (draw * nodes + node) * g.s);
      }
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

  // Probability of the symbols x, data as of sample, at each level: the mean of the marginals at them, (L+1).
  function overlap(beliefs, x) {
    const { g, batch, chunks } = beliefs;
    checkData("x", g, x, batch);
    return Float64Array.from(x, (symbols, level) => {
      let [i, total] = [0, 0];
      for (const { n, marginals } of chunks) {
        const { data, step, place } = marginals[level];
        for (let node = 0; node < n * g.numNodes(level); node++) total += data[place(node) + symbols[i++] * step];
      }
      return total / symbols.length;
    });
  }

  Object.assign(E, { Beliefs, infer, classPosterior, posteriorSample, overlap });
});
