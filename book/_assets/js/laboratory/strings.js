// A string of the reader's own and a small grammar: is it one of its strings, where is it not, and what a U-turn makes of it.
// A setting is {v, m, s, L, noise, stop, seed, draw, string}: the leaves as digits, stop a noise of Laboratory.grid.
(() => {
  const FIRST = { v: 4, m: 2, s: 2, L: 3, noise: "UniformNoise", stop: 22, seed: 0, draw: 0, string: "" };
  const STOPS = 60;

  // Small: a symbol is a digit, the tree fits a phone, the rules a table.
  function stringLimits(name, { v, s, m }) {
    if (name === "v") return [2, 8];
    if (name === "s") return [2, 3];
    if (name === "m") return [1, Math.min(v ** (s - 1), 4)];
    if (name === "L") return [1, s === 2 ? 3 : 2];
    if (name === "stop") return [1, STOPS];
    return [0, 2 ** 32 - 1];
  }

  // The setting nearest to what is wished; what is no number is as at first. The string is as it was typed.
  function settleString(wished) {
    const setting = { ...FIRST, string: String(wished.string ?? FIRST.string).slice(0, 64) };
    if (Object.hasOwn(globalThis.Laboratory.NOISES, wished.noise ?? "")) setting.noise = wished.noise;
    for (const name of ["v", "s", "m", "L", "stop", "seed", "draw"]) {
      const [least, most] = stringLimits(name, setting);
      const wish = wished[name] === undefined || wished[name] === "" ? NaN : Math.round(Number(wished[name]));
      setting[name] = Math.min(most, Math.max(least, Number.isFinite(wish) ? wish : FIRST[name]));
    }
    return setting;
  }

  // In the address each entry is called own_NAME, for the page has other figures.
  const stringToAddress = (setting) => Object.fromEntries(Object.entries(setting).map(([name, value]) => [`own_${name}`, value]));
  function stringFromAddress(search) {
    const all = [...new URLSearchParams(search)].filter(([name]) => name.startsWith("own_"));
    return settleString(Object.fromEntries(all.map(([name, value]) => [name.slice(4), value])));
  }

  const stringGrammar = ({ v, m, s, L, seed }) => Engine.randomGrammar({ v, m, s, L, generator: new Engine.Generator(seed, 1) });
  const drawnString = (g, generator) => [...Engine.sample(g, 1, { generator })[0]].join("");

  // The leaves that were typed, {leaves}, or {error}: why they are none. Blanks and commas say nothing.
  function readString(text, g) {
    const digits = text.replace(/[\s,]/g, "");
    const bad = [...digits].find((c) => !/\d/.test(c) || +c >= g.v);
    if (bad !== undefined) return { error: `“${bad}” is no symbol of this grammar, which has 0 to ${g.v - 1}.` };
    if (digits.length !== g.d) return { error: `A string has ${g.d} leaves; ${digits.length} came.` };
    return { leaves: Int32Array.from(digits, Number) };
  }

  // All levels as far as they have a parse: symbols, -1 where there is none; and the nodes [level, node] whose children are
  // all known, but no rule makes them.
  function partialParse(g, leaves) {
    const [x, orphans] = [[Int32Array.from(leaves)], []];
    for (let l = 0; l < g.L; l++) {
      const { parents, legal } = Engine.parentsOf(g, l, x[l]);
      x[l + 1] = parents.map((y, i) => (legal[i] ? y : -1));
      legal.forEach((good, i) => !good && !x[l].subarray(i * g.s, (i + 1) * g.s).includes(-1) && orphans.push([l + 1, i]));
    }
    return { x, orphans };
  }

  // Everything that is drawn and said: {g, leaves, x, orphans, t, seen, evidence, beliefs, y}, or {g, error}; beliefs are null
  // where no string of the grammar can be what is seen.
  function stringState(setting, g) {
    const read = readString(setting.string, g);
    if (read.error) return { setting, g, ...read };
    const { leaves } = read;
    const t = globalThis.Laboratory.grid(setting.noise)[setting.stop];
    const noise = new Engine[setting.noise](g.v, { dtype: "float64" });
    const seen = noise.path(leaves, { generator: new Engine.Generator(setting.seed, 2 + 2 * setting.draw) })(t);
    const evidence = noise.evidence(seen, t);
    const state = { setting, g, leaves, ...partialParse(g, leaves), t, seen, evidence, beliefs: null, y: null };
    try {
      const beliefs = Engine.infer(g, evidence);
      const generator = new Engine.Generator(setting.seed, 3 + 2 * setting.draw);
      return { ...state, beliefs: beliefs.rows("marginals"), y: Engine.posteriorSample(g, evidence, { generator }) };
    } catch (error) {
      if (!error.message.includes("impossible")) throw error;
      return state;
    }
  }

  // Which leaves are wrong together, and where they would meet.
  function orphanWords({ g, x, orphans }) {
    const each = orphans.map(([l, i]) => {
      const children = [...x[l - 1].subarray(i * g.s, (i + 1) * g.s)].join(" ");
      const span = g.s ** l;
      const where = `leaves ${i * span + 1}–${(i + 1) * span}`;
      return l === 1 ? `${where} (${children}) have no parent` : `above ${where}, ${children} of level ${l - 1} have no parent`;
    });
    return each.join("; ");
  }

  function stringWords(state) {
    const { g, error, leaves, x, orphans, beliefs, y } = state;
    if (error) return error;
    const text = [...leaves].join("");
    const all = [];
    if (orphans.length) all.push(`${text} is no string of this grammar: ${orphanWords(state)}.`);
    else all.push(`${text} is a string of this grammar, of class ${x[g.L][0]}.`);
    if (!beliefs) return [...all, "What is seen of it fits no string of the grammar: take more noise."].join(" ");
    const top = beliefs[g.L][0];
    const likely = top.indexOf(Math.max(...top));
    const changed = y[0].reduce((sum, a, i) => sum + (a !== leaves[i]), 0);
    all.push(`This way back makes ${[...y[0]].join("")} of it, of class ${y[g.L][0]}: ${changed} of ${g.d} leaves are changed.`);
    all.push(`The likeliest class is ${likely}, with ${top[likely].toFixed(3)}.`);
    if (!orphans.length) all.push(`The posterior of its own class is ${top[x[g.L][0]].toFixed(3)}.`);
    return all.join(" ");
  }

  // The rules for a table: a row a symbol, [symbol, what it becomes from the class down].
  function rulesTable(g) {
    const heads = g.rules.map((_, l) => `${l + 1 === g.L ? "class" : l + 1} → ${l || "leaves"}`).toReversed();
    const tuples = (l, y) => Array.from({ length: g.m }, (_, q) => [...g.rules[l].subarray((y * g.m + q) * g.s, (y * g.m + q + 1) * g.s)].join(" "));
    const rows = Array.from({ length: g.v }, (_, y) => [y, ...g.rules.map((_, l) => tuples(l, y)).toReversed()]);
    return { heads, rows };
  }

  // The posterior for a table: a row a node, the class first: [node, its parse, this way back, …a number a symbol].
  function posteriorTable({ g, x, y, beliefs }) {
    return beliefs
      .flatMap((nodes, l) => nodes.map((p, i) => ({ l, row: [l === g.L ? "class" : l ? `level ${l}, ${i + 1}` : `leaf ${i + 1}`, x[l][i], y[l][i], ...p] })))
      .sort((a, b) => b.l - a.l)
      .map(({ row }) => row);
  }

  Object.assign((globalThis.Laboratory ??= {}), {
    stringLimits, settleString, stringToAddress, stringFromAddress, stringGrammar, drawnString, readString, partialParse,
    stringState, stringWords, rulesTable, posteriorTable,
  }); // prettier-ignore
})();
if (typeof module !== "undefined") module.exports = globalThis.Laboratory;
