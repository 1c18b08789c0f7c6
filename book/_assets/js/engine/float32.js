// The fast kernel of inference: float32, sixteen nodes at once. It lays out the levels for the loops of simd.js; the
// contract is that of float64.js, but for this: where a number is no evidence or leaves the range, it returns null.
Engine.part((E) => {
  // What is below `floor` of a message counts as zero in the loops of simd.js, and `least` is the smallest evidence or
  // headroom of a datum with which that may be. The first pass is several times the faster one where noise is low, for
  // no product of two numbers of it is below the normal ones; all that it drops of 2^18 numbers is 2^-17 of the evidence,
  // at most. The second drops nothing, and has the limit of float64.js, of this type.
  const PASSES = [
    { floor: 2 ** -63, least: 2 ** (-63 + 35) },
    { floor: 0, least: 2 ** (16 - 126) },
  ];
  PASSES.forEach((pass) => (pass.bits = new Int32Array(new Float32Array([pass.floor]).buffer)[0]));
  const [SMALL, LARGE] = [2 ** -100, 2 ** 100]; // of the largest number of a leaf, where no other is lost
  const MOST = 2 ** 27; // bytes of tables and levels; beyond, float64.js does it
  const loops = {}; // by s, and whether rules have weights

  // Where everything is for n data of a grammar; `known` keeps the last.
  let known = null;
  function plan(g, n) {
    if (known?.g === g && known.n === n) return known;
    const { s, L, m } = g;
    const uneven = g.weights ? 1 : 0;
    const kernel = (loops[[s, uneven]] ??= E.simd.compile(s, uneven));
    if (!kernel) return null;
    const columns = Array.from({ length: L + 1 }, (_, l) => n * g.numNodes(l));
    const rows = columns.map((N) => 64 * ((((N + 16 + 15) >> 4) | 1))); // an odd number of lines: no two rows collide
    let end = 0;
    const take = (bytes) => (end += (bytes + 63) & ~63) - ((bytes + 63) & ~63);
    const kind = () => rows.map((row, l) => take(row * g.numSymbols(l)));
    const [up, down, marginals] = [kind(), kind(), kind()];
    const totals = [rows.map(take), rows.map(take)]; // of the way up and of the way down
    const words = g.rules.map((rule) => (rule.length / s) * (s + uneven));
    const upTable = words.map((k) => take(4 * k));
    const downTable = words.map((k) => Array.from({ length: s }, () => [take(4 * k), take(4 * g.v)])); // prettier-ignore
    if (end > MOST) return null;
    const missing = end - kernel.memory.buffer.byteLength;
    try {
      if (missing > 0) kernel.memory.grow(Math.ceil(missing / 65536));
    } catch {
      return null; // there is no more
    }
    const memory = { f32: new Float32Array(kernel.memory.buffer), i32: new Int32Array(kernel.memory.buffer) };
    const tops = g.weights?.map((table) => table.reduce((top, w) => Math.max(top, w), 0));
    const here = { g, n, kernel, tops, columns, rows, up, down, marginals, totals, upTable, downTable, ...memory, end };
    memory.f32.fill(0, 0, end / 4);
    for (let level = 0; level < L; level++) tables(here, level, m);
    here.place = places(g, n);
    return (known = here);
  }

  // The addresses, in bytes, of what each rule of a level multiplies: upward its children; downward, for the children at
  // one place, the parent and their siblings, the rules in the order of the symbol that they have there. Then, where rules
  // have weights, that of the rule, the largest of a level one: as with uniform rules, no factor is larger.
  function tables({ g, columns, rows, upTable, downTable, tops, i32, f32 }, level, m) {
    const { s, v } = g;
    const weights = g.weights?.[level].map((w) => w / tops[level]);
    const wide = weights ? s + 1 : s;
    const [rules, row, above] = [g.rules[level], rows[level], rows[level + 1]];
    const shift = 4 * columns[level + 1];
    const child = (k, i) => rules[k * s + i] * row + i * shift;
    const at = upTable[level] >> 2;
    for (let k = 0; k < rules.length / s; k++) {
      for (let i = 0; i < s; i++) i32[at + k * wide + i] = child(k, i);
      if (weights) f32[at + k * wide + s] = weights[k];
    }
    downTable[level].forEach(([table, counts], i) => {
      const next = new Int32Array(v + 1);
      for (let k = i; k < rules.length; k += s) next[rules[k] + 1]++;
      i32.set(next.subarray(1), counts >> 2);
      for (let a = 0; a < v; a++) next[a + 1] += next[a];
      for (let k = 0; k < rules.length / s; k++) {
        let to = (table >> 2) + wide * next[rules[k * s + i]]++;
        i32[to++] = Math.floor(k / m) * above;
        for (let j = 0; j < s; j++) if (j !== i) i32[to++] = child(k, j);
        if (weights) f32[to] = weights[k];
      }
    });
  }

  // The column of every node of a level, those of all data counted on.
  function places(g, n) {
    const found = [];
    found[g.L] = Int32Array.from({ length: n }, (_, b) => b);
    for (let l = g.L - 1; l >= 0; l--) {
      const above = found[l + 1];
      found[l] = new Int32Array(above.length * g.s).map((_, k) => (k % g.s) * above.length + above[Math.floor(k / g.s)]);
    }
    return found;
  }

  // Evidence into the rows of the leaves; false if a number is negative or not finite.
  function write({ g, f32, up, rows, place }, evidence) {
    const [v, at, row] = [g.v, up[0] >> 2, rows[0] >> 2];
    let good = true;
    for (let leaf = 0, k = 0; leaf < place[0].length; leaf++) {
      let to = at + place[0][leaf];
      for (let a = 0; a < v; a++, k++, to += row) {
        const x = evidence[k];
        good &&= x >= 0 && x < Infinity;
        f32[to] = x;
      }
    }
    return good;
  }

  // The way up; null where a number leaves the range.
  function rise(g, evidence, prior, { bits, least }) {
    const n = evidence.length / (g.d * g.v);
    const here = plan(g, n);
    if (!here || !write(here, evidence)) return null;
    const { kernel, columns, rows, up, f32, totals } = here;
    kernel.leaves(up[0], totals[0][0], g.v, rows[0], 4 * columns[0], bits);
    for (let l = 1; l <= g.L; l++)
      kernel.upward(up[l - 1], up[l], here.upTable[l - 1], totals[0][l], g.numSymbols(l), g.m, rows[l], 4 * columns[l], bits);
    const log = new Float64Array(n).fill(ofRules(here));
    const headroom = reach(here, log);
    const root = new Float64Array(n * g.numClasses);
    for (let b = 0; b < n; b++) {
      let total = 0;
      for (let y = 0, k = b * g.numClasses; y < g.numClasses; y++, k++)
        total += root[k] = prior[k] * f32[(up[g.L] >> 2) + y * (rows[g.L] >> 2) + b];
      if (!(headroom[b] * total >= least)) return null;
      for (let k = b * g.numClasses; k < (b + 1) * g.numClasses; k++) root[k] /= total;
      log[b] += Math.log(total);
    }
    return { here, root, logEvidence: log };
  }

  // The log of what the loops leave out at all nodes: 1/m of each rule, or the largest weight of its level.
  function ofRules({ g, tops }) {
    if (!tops) return (-(g.d - 1) / (g.s - 1)) * Math.log(g.m);
    return tops.reduce((sum, top, level) => sum + g.numNodes(level + 1) * Math.log(top), 0);
  }

  // The headroom of each datum; the logs of all that was divided out are added to log.
  function reach({ g, n, columns, totals, f32 }, log) {
    let below = null;
    for (let l = 0; l <= g.L; l++) {
      const [N, at] = [columns[l], totals[0][l] >> 2];
      const headroom = new Float64Array(N);
      for (let b = 0; b < n; b++)
        for (let c = b, product = 1; c < N; c += n) {
          const total = f32[at + c];
          if (!(l ? total > 0 : total >= SMALL && total <= LARGE)) return new Float64Array(n);
          product *= total;
          if (product < 1e-200 || product > 1e200 || c + n >= N) {
            log[b] += Math.log(product); // of many at once: logs are slow
            product = 1;
          }
          let least = 1;
          for (let i = 0; l && i < g.s; i++) least = Math.min(least, below[i * N + c]);
          headroom[c] = l ? Math.min(1, least * total) : 1;
        }
      below = headroom;
    }
    return below;
  }

  const views = ({ rows, place }, data, starts, from) =>
    starts.map((start, l) => ({ data, step: rows[l] >> 2, place: (node) => ((start - from) >> 2) + place[l][node] }));

  const tried = (one, ...given) => one(...given, PASSES[0]) ?? one(...given, PASSES[1]);

  function upward(g, evidence, prior) {
    const found = tried(rise, g, evidence, prior);
    return found && { ...found, n: found.here.n, up: views(found.here, found.here.f32, found.here.up, 0) };
  }

  const infer = (...given) => tried(inferred, ...given);

  function inferred(g, evidence, prior, messages, pass) {
    const found = rise(g, evidence, prior, pass);
    if (!found) return null;
    const { here, root, logEvidence } = found;
    const { n, kernel, columns, rows, up, down, marginals, totals, f32 } = here;
    for (let b = 0; b < n; b++)
      for (let y = 0; y < g.numClasses; y++) {
        const k = y * (rows[g.L] >> 2) + b;
        f32[(down[g.L] >> 2) + k] = prior[b * g.numClasses + y];
        f32[(marginals[g.L] >> 2) + k] = root[b * g.numClasses + y];
      }
    for (let l = g.L - 1; l >= 0; l--) {
      here.downTable[l].forEach(([table, counts], i) => {
        const shift = 4 * i * columns[l + 1];
        const [to, own, all, sums] = [down[l], up[l], marginals[l], totals[1][l]].map((each) => each + shift);
        kernel.downward(up[l], down[l + 1], to, own, all, table, counts, sums, g.v, rows[l], 4 * columns[l + 1], pass.bits);
      });
      const sums = f32.subarray(totals[1][l] >> 2, (totals[1][l] >> 2) + columns[l]);
      for (let c = 0; c < sums.length; c++) if (!(sums[c] >= pass.least)) return null;
    }
    const copy = (starts, end) => views(here, f32.slice(starts[0] >> 2, end >> 2), starts, starts[0]);
    const more = messages ? { up: copy(up, down[0]), down: copy(down, marginals[0]) } : { up: null, down: null };
    return { n, root, logEvidence, marginals: copy(marginals, totals[0][0]), ...more };
  }

  E.float32 = { upward, infer };
});
