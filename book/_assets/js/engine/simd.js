// The three loops of inference in float32 for WebAssembly, written out here byte by byte: no compiler is needed.
//
// A level is a table of rows of float32, one row a symbol, and its nodes are the columns of all rows: of N parents in the
// columns 0 … N-1, the i-th children stand in the columns iN … iN+N-1, so that whatever is done for one parent is done
// for sixteen neighbours by the same instructions. A loop may run past the last column of a row by up to fifteen; rows
// have room for it, and what it writes there is either never read or written again.
Engine.part((E) => {
  const LANES = 4; // vectors of four columns that one turn of a loop takes
  const BLOCK = 16 * LANES; // bytes of a row in a turn
  const [I32, V128] = [0x7f, 0x7b];

  // Numbers of the format: LEB128, unsigned and signed.
  function unsigned(n) {
    const out = [];
    do out.push((n & 0x7f) | (n > 0x7f ? 0x80 : 0));
    while ((n >>>= 7));
    return out;
  }
  function signed(n) {
    const out = [];
    for (;;) {
      const low = n & 0x7f;
      n >>= 7;
      if ((n === 0 && !(low & 0x40)) || (n === -1 && low & 0x40)) return [...out, low];
      out.push(low | 0x80);
    }
  }
  const sized = (bytes) => [...unsigned(bytes.length), ...bytes];
  const section = (id, items) => [id, ...sized([...unsigned(items.length), ...items.flat()])];

  // Instructions. Each is a list of bytes; those that take values take the lists that make them.
  const get = (x) => [0x20, ...unsigned(x)];
  const set = (x, value) => [...value, 0x21, ...unsigned(x)];
  const number = (n) => [0x41, ...signed(n)];
  const add = (a, b) => [...a, ...b, 0x6a];
  const less = (a, b) => [...a, ...b, 0x49];
  const word = (address, offset = 0) => [...address, 0x28, 2, ...unsigned(offset)];
  const load = (address, offset = 0) => [...address, 0xfd, 0x00, 0, ...unsigned(offset)];
  const store = (address, offset, value) => [...address, ...value, 0xfd, 0x0b, 0, ...unsigned(offset)];
  const plus = (a, b) => [...a, ...b, 0xfd, 0xe4, 0x01];
  const times = (a, b) => [...a, ...b, 0xfd, 0xe6, 0x01];
  const over = (a, b) => [...a, ...b, 0xfd, 0xe7, 0x01];
  const above = (x, least) => [...get(x), ...get(x), ...get(least), 0xfd, 0x11, 0xfd, 0x46, 0xfd, 0x4e]; // x, or 0 below it
  const larger = (a, b) => [...a, ...b, 0xfd, 0xeb, 0x01]; // b if a < b, else a
  const all = (x) => [0x43, ...new Uint8Array(new Float32Array([x]).buffer), 0xfd, 0x13];
  const step = (x, by) => set(x, add(get(x), by));
  const again = (body, condition) => [0x03, 0x40, ...body, ...condition, 0x0d, 0, 0x0b]; // while it holds; once at least
  const if_ = (condition, body) => [...condition, 0x04, 0x40, ...body, 0x0b];
  const down = (x) => [...set(x, add(get(x), number(-1))), ...get(x)]; // count down, and whether some are left
  const lanes = (make) => Array.from({ length: LANES }, (_, k) => make(k, 16 * k)).flat();

  // A function: its parameters and other locals by name, i32 but for those in `vectors`, of which there are LANES each.
  function define(parameters, locals, vectors, body) {
    const names = [...parameters, ...locals];
    const at = Object.fromEntries(names.map((name, i) => [name, i]));
    vectors.forEach((name, i) => (at[name] = (k) => names.length + i * LANES + k));
    const kinds = [
      [...unsigned(locals.length), I32],
      [...unsigned(vectors.length * LANES), V128],
    ];
    const code = [...unsigned(kinds.length), ...kinds.flat(), ...body(at), 0x0b];
    return { type: [0x60, ...sized(parameters.map(() => I32)), 0], code: sized(code) };
  }

  const TINY = 2 ** -126; // the smallest normal number: what is divided by is at least this, so that 0 / 0 is 0
  const inverse = (x) => lanes((k) => set(x(k), over(all(1), larger(get(x(k)), all(TINY)))));
  const zero = (x) => lanes((k) => set(x(k), all(0)));

  // One rule: the addresses p, those of its entry in the table after where they begin; and the product of what is there.
  const addresses = (s, p, table, first, rest) =>
    p.slice(0, s).flatMap((x, i) => set(x, add(get(i ? rest : first), word(get(table), 4 * i))));
  const product = (s, k, p) => p.slice(0, s).map((x) => load(get(x), 16 * k)).reduce(times); // prettier-ignore
  const everywhere = (address, offset) => [...address, 0xfd, 0x09, 2, ...unsigned(offset)]; // one float32, in all columns

  // Add one rule to the sums, and go on to the next entry of the table; where rules have weights, that is its last word.
  const rule = (x, s, uneven, p, first, rest) => {
    const weight = x.weight(0);
    const told = (k) => (uneven ? times(product(s, k, p), get(weight)) : product(s, k, p));
    return [
      ...addresses(s, p, x.t, first, rest),
      ...(uneven ? set(weight, everywhere(get(x.t), 4 * s)) : []),
      ...lanes((k) => set(x.sum(k), plus(get(x.sum(k)), told(k)))),
      ...step(x.t, number(4 * (s + uneven))),
    ];
  };

  // All loops take `least`, the bits of a float32: what is below it counts as zero, for processors multiply numbers that
  // are too small to be normal more than ten times slower than others, and there are no instructions to be rid of them.

  // Scale each leaf to maximum one; tops gets what it was.
  const leaves = define(["rows", "tops", "symbols", "row", "width", "least"], ["n", "o", "y"], ["top", "each"], (x) =>
    again(
      [
        ...zero(x.top),
        ...set(x.o, add(get(x.rows), get(x.n))),
        ...set(x.y, get(x.symbols)),
        ...again(
          [...lanes((k, at) => set(x.top(k), larger(get(x.top(k)), load(get(x.o), at)))), ...step(x.o, get(x.row))],
          down(x.y),
        ),
        ...lanes((k, at) => store(add(get(x.tops), get(x.n)), at, get(x.top(k)))),
        ...inverse(x.top),
        ...scale(x, x.rows, x.top, x.each),
        ...step(x.n, number(BLOCK)),
      ],
      less(get(x.n), get(x.width)),
    ),
  );

  // Multiply the columns of all rows; `each` is room for what comes out.
  function scale(x, rows, by, each) {
    return [
      ...set(x.o, add(get(rows), get(x.n))),
      ...set(x.y, get(x.symbols)),
      ...again(
        [
          ...lanes((k, at) => set(each(k), times(load(get(x.o), at), get(by(k))))),
          ...lanes((k, at) => store(get(x.o), at, above(each(k), x.least))),
          ...step(x.o, get(x.row)),
        ],
        down(x.y),
      ),
    ];
  }

  // Eq. (7): for each symbol the sum over its `many` rules; totals gets what the messages are divided by.
  const upward = (s, uneven) =>
    define(
      ["children", "rows", "table", "totals", "symbols", "many", "row", "width", "least"],
      ["n", "c", "o", "t", "y", "q", "p0", "p1", "p2", "p3"],
      ["sum", "total", "weight"],
      (x) => {
        const p = [x.p0, x.p1, x.p2, x.p3];
        const symbol = [
          ...zero(x.sum),
          ...set(x.q, get(x.many)),
          ...again(rule(x, s, uneven, p, x.c, x.c), down(x.q)),
          ...lanes((k, at) => store(get(x.o), at, get(x.sum(k)))),
          ...lanes((k) => set(x.total(k), plus(get(x.total(k)), get(x.sum(k))))),
          ...step(x.o, get(x.row)),
        ];
        return again(
          [
            ...set(x.c, add(get(x.children), get(x.n))),
            ...set(x.o, add(get(x.rows), get(x.n))),
            ...set(x.t, get(x.table)),
            ...set(x.y, get(x.symbols)),
            ...zero(x.total),
            ...again(symbol, down(x.y)),
            ...lanes((k, at) => store(add(get(x.totals), get(x.n)), at, get(x.total(k)))),
            ...inverse(x.total),
            ...scale(x, x.rows, x.total, x.sum),
            ...step(x.n, number(BLOCK)),
          ],
          less(get(x.n), get(x.width)),
        );
      },
    );

  // Eq. (8), for the children at one place: for each symbol the sum over the rules that have it there, as many as the
  // table of counts says; then the marginals. totals gets the evidence in each node: the product of both sums.
  const downward = (s, uneven) =>
    define(
      ["children", "parents", "rows", "own", "marginals", "table", "counts", "totals", "symbols", "row", "width", "least"],
      ["n", "c", "a", "o", "e", "w", "t", "u", "y", "q", "p0", "p1", "p2", "p3"],
      ["sum", "total", "both", "weight"],
      (x) => {
        const p = [x.p0, x.p1, x.p2, x.p3];
        const symbol = [
          ...zero(x.sum),
          ...set(x.q, word(get(x.u))),
          ...step(x.u, number(4)),
          ...if_(get(x.q), again(rule(x, s, uneven, p, x.a, x.c), down(x.q))),
          ...lanes((k, at) => store(get(x.o), at, get(x.sum(k)))),
          ...lanes((k) => set(x.total(k), plus(get(x.total(k)), get(x.sum(k))))),
          ...step(x.o, get(x.row)),
        ];
        const join = [
          ...lanes((k, at) => set(x.sum(k), times(load(get(x.o), at), get(x.total(k))))),
          ...lanes((k) => set(x.sum(k), above(x.sum(k), x.least))),
          ...lanes((k, at) => store(get(x.o), at, get(x.sum(k)))),
          ...lanes((k, at) => set(x.sum(k), times(get(x.sum(k)), load(get(x.e), at)))),
          ...lanes((k, at) => store(get(x.w), at, get(x.sum(k)))),
          ...lanes((k) => set(x.both(k), plus(get(x.both(k)), get(x.sum(k))))),
          ...[x.o, x.e, x.w].flatMap((each) => step(each, get(x.row))),
        ];
        return again(
          [
            ...set(x.c, add(get(x.children), get(x.n))),
            ...set(x.a, add(get(x.parents), get(x.n))),
            ...set(x.o, add(get(x.rows), get(x.n))),
            ...set(x.t, get(x.table)),
            ...set(x.u, get(x.counts)),
            ...set(x.y, get(x.symbols)),
            ...zero(x.total),
            ...zero(x.both),
            ...again(symbol, down(x.y)),
            ...lanes((k, at) => store(add(get(x.totals), get(x.n)), at, get(x.total(k)))),
            ...inverse(x.total),
            ...set(x.o, add(get(x.rows), get(x.n))),
            ...set(x.e, add(get(x.own), get(x.n))),
            ...set(x.w, add(get(x.marginals), get(x.n))),
            ...set(x.y, get(x.symbols)),
            ...again(join, down(x.y)),
            ...set(x.u, add(get(x.totals), get(x.n))),
            ...lanes((k, at) => store(get(x.u), at, times(load(get(x.u), at), get(x.both(k))))),
            ...inverse(x.both),
            ...scale(x, x.marginals, x.both, x.sum),
            ...step(x.n, number(BLOCK)),
          ],
          less(get(x.n), get(x.width)),
        );
      },
    );

  // {memory, leaves, upward, downward} for s children, of rules that have weights if uneven is 1, and none if it is 0; null
  // in a browser that lacks the instructions.
  function compile(s, uneven) {
    const functions = { leaves, upward: upward(s, uneven), downward: downward(s, uneven) };
    const made = Object.values(functions);
    const name = (text) => sized([...text].map((c) => c.charCodeAt(0)));
    const bytes = new Uint8Array([
      ...[0x00, 0x61, 0x73, 0x6d, 1, 0, 0, 0],
      ...section(1, made.map((each) => each.type)), // prettier-ignore
      ...section(3, made.map((_, i) => unsigned(i))), // prettier-ignore
      ...section(5, [[0, 1]]), // memory, of one page at first
      ...section(7, [
        [...name("memory"), 2, 0],
        ...Object.keys(functions).map((each, i) => [...name(each), 0, ...unsigned(i)]),
      ]),
      ...section(10, made.map((each) => each.code)), // prettier-ignore
    ]);
    if (!globalThis.WebAssembly?.validate(bytes)) return null;
    return new WebAssembly.Instance(new WebAssembly.Module(bytes)).exports;
  }

  E.simd = { compile, BLOCK };
});
