// The Random Hierarchy Model: its rules, its data, and the unique parse of a datum (hierlib.grammar).
Engine.part((E) => {
  const MOST_EVIDENCE = 2 ** 17; // leaves times symbols: what one datum's evidence may hold

  // v symbols, m rules each, s children, L levels of rules, numClasses symbols of the root.
  function checkParameters({ v, m, s, L, numClasses }) {
    E.whole("v", v, 2, 64);
    E.whole("s", s, 2, 4);
    E.whole("L", L, 1, 12);
    E.whole("m", m, 1, Infinity);
    E.whole("numClasses", numClasses, 1, Infinity);
    if (m > v ** (s - 1)) E.refuse("m", `m ≤ v^(s-1) = ${v ** (s - 1)} rules per symbol`, m);
    if (numClasses * m > v ** s)
      E.complain("numClasses", `numClasses·m ≤ v^s = ${v ** s} distinct tuples at the root`, `${numClasses}·${m}`);
    if (s ** L * v > MOST_EVIDENCE)
      E.complain("L", `at most ${MOST_EVIDENCE} numbers of evidence, s^L·v, a datum`, `${s}^${L}·${v} = ${s ** L * v}; lower L`);
  }

  // The rules of one draw: rules[l], of shape (symbols of level l+1, m, s), is a Uint8Array of level-l symbols. They may be
  // given nested, as hierlib's rule.tolist(), or flat. weights are of the rules, see weights.js; null if all are equal.
  class Grammar {
    constructor({ v, m, s, L, numClasses = null, rules, weights = null }) {
      const known = rules?.length === L && Array.isArray(rules[L - 1]?.[0]) ? rules[L - 1].length : v;
      Object.assign(this, { v, m, s, L, numClasses: numClasses ?? known });
      checkParameters(this);
      if (rules?.length !== L) E.refuse("rules", `one table a level, L = ${L}`, rules?.length);
      const used = new Uint8Array(v ** s); // the last level, plus one, that has a tuple
      this.rules = Array.from(rules, (table, l) => {
        const flat = Array.isArray(table) ? table.flat(2) : table;
        const size = this.numSymbols(l + 1) * m * s;
        if (flat?.length !== size) E.refuse(`rules[${l}]`, `${this.numSymbols(l + 1)}·${m}·${s} symbols`, flat?.length);
        for (let i = 0, code = 0; i < size; i++) {
          if (!(flat[i] >= 0 && flat[i] < v && flat[i] % 1 === 0)) E.refuse(`rules[${l}]`, `symbols in 0…${v - 1}`, flat[i]);
          code = (i % s ? code * v : 0) + flat[i];
          if ((i + 1) % s) continue;
          if (used[code] === l + 1) E.complain(`rules[${l}]`, "every tuple once, for a datum must have only one parse", "one twice");
          used[code] = l + 1;
        }
        return Uint8Array.from(flat);
      });
      this.weights = E.checkWeights(weights, this);
    }

    get d() {
      return this.s ** this.L;
    }

    numSymbols(level) {
      return level === this.L ? this.numClasses : this.v;
    }

    numNodes(level) {
      return this.s ** (this.L - level);
    }

    // What JSON.stringify writes: the arguments of hierlib's Grammar, rules nested, [level][symbol][rule][child], and weights where
    // they are not all equal.
    toJSON() {
      const { v, m, s, L, numClasses } = this;
      const inside = (table, size) => Array.from({ length: table.length / size }, (_, k) => table.slice(k * size, (k + 1) * size));
      const rules = this.rules.map((table) => inside(inside(Array.from(table), s), m));
      const weights = this.weights?.map((table) => inside(Array.from(table), m));
      return { v, m, s, L, num_classes: numClasses, rules, ...(weights && { weights }) };
    }
  }

  // Draw a grammar: at each level the tuples are uniform among the v^s, without replacement; they do not depend on weights.
  function randomGrammar({ v, m, s, L, numClasses = v, weights = null, generator }) {
    E.checkGenerator(generator);
    checkParameters({ v, m, s, L, numClasses });
    const codes = new Uint32Array(v ** s).map((_, i) => i);
    const rules = Array.from({ length: L }, (_, l) => {
      const tuples = (l === L - 1 ? numClasses : v) * m;
      const table = new Uint8Array(tuples * s);
      for (let k = 0; k < tuples; k++) {
        const at = k + generator.below(codes.length - k);
        let code = codes[at];
        codes[at] = codes[k];
        codes[k] = code;
        for (let i = s - 1; i >= 0; i--) {
          table[k * s + i] = code % v;
          code = Math.floor(code / v);
        }
      }
      return table;
    });
    return new Grammar({ v, m, s, L, numClasses, rules, weights });
  }

  // Draw n data: a class, then at each node one of the m rules of its symbol, by their weights. One Int32Array a level, (n, s^(L-l)).
  function sample(g, n, { generator, classes = null }) {
    E.whole("n", n, 1, Infinity);
    E.checkGenerator(generator);
    if (classes && classes.length !== n) E.refuse("classes", `${n} classes`, classes);
    classes?.forEach((y) => E.whole("classes", y, 0, g.numClasses - 1));
    const x = [];
    x[g.L] = Int32Array.from({ length: n }, (_, i) => (classes ? classes[i] : generator.below(g.numClasses)));
    for (let level = g.L - 1; level >= 0; level--) {
      x[level] = new Int32Array(n * g.numNodes(level));
      const weights = g.weights?.[level];
      const draw = (y) => (weights ? E.choose(weights, g.m, 0, generator.uniform(), y * g.m) : generator.below(g.m));
      x[level + 1].forEach((y, node) => write(g, level, y, draw(y), x[level], node * g.s));
    }
    return x;
  }

  // The children, at a level, that a rule of the symbol above says.
  function write(g, level, symbol, which, out, at) {
    for (let i = 0; i < g.s; i++) out[at + i] = g.rules[level][(symbol * g.m + which) * g.s + i];
  }

  // All levels of data, from their leaves, (n, s^L).
  function parse(g, leaves) {
    const n = checkSymbols("leaves", leaves, g.v) / g.d;
    if (!Number.isInteger(n) || !n) E.refuse("leaves", `a multiple of s^L = ${g.d} symbols`, leaves);
    const x = [Int32Array.from(leaves)];
    for (let level = 0; level < g.L; level++) {
      const { parents, legal } = parentsOf(g, level, x[level]);
      const datum = Math.floor(legal.indexOf(0) / g.numNodes(level + 1));
      if (datum >= 0)
        E.complain("leaves", "strings of this grammar", `datum ${datum}, where no rule makes a tuple at level ${level}`);
      x[level + 1] = parents;
    }
    return x;
  }

  // The symbols of level + 1 that are rewritten as these tuples of a level, and whether a rule says so, 1 or 0; where none
  // does, the symbol is 0. A child that is no symbol, -1, is in no rule.
  function parentsOf(g, level, children) {
    const [rules, known] = [g.rules[level], new Map()];
    const encode = (symbols, at) => symbols.subarray(at, at + g.s).reduce((code, a) => (a < 0 ? NaN : code * g.v + a), 0);
    for (let k = 0; k < rules.length / g.s; k++) known.set(encode(rules, k * g.s), Math.floor(k / g.m));
    const found = Array.from({ length: children.length / g.s }, (_, node) => known.get(encode(children, node * g.s)));
    return { parents: Int32Array.from(found, (y) => y ?? 0), legal: Uint8Array.from(found, (y) => +(y !== undefined)) };
  }

  // How many symbols there are, all of them whole numbers below v.
  function checkSymbols(name, x, v) {
    if (!ArrayBuffer.isView(x) && !Array.isArray(x)) E.refuse(name, "an array of symbols", x);
    for (const a of x) if (!(a >= 0 && a < v && a % 1 === 0)) E.refuse(name, `symbols in 0…${v - 1}`, a);
    return x.length;
  }

  Object.assign(E, { Grammar, randomGrammar, sample, parse, parentsOf, checkParameters, checkSymbols, write });
});
