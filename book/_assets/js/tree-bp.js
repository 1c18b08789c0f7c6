// Exact inference on the tree of a small grammar: the arithmetic that several live figures share.
// A grammar is {v, m, s, L, rules}: rules[l][symbol][which] is a tuple of level-l symbols. Evidence, messages and
// beliefs are [node][symbol]; with a level in front of it they are indexed [level][node][symbol], leaves first.
const TreeBP = (() => {
  const sum = (p) => p.reduce((a, b) => a + b, 0);
  const normalise = (p) => {
    const total = sum(p);
    if (!(total > 0)) throw new Error("this evidence is impossible under the grammar");
    return p.map((a) => a / total);
  };

  // How well the children bear out one rule.
  const weight = (tuple, children) => tuple.reduce((w, a, i) => w * children[i][a], 1);

  // Eq. (7), not yet normalised: what the children say about their parent; rules is the table of their level.
  const upward = (rules, children) => rules.map((ways) => sum(ways.map((tuple) => weight(tuple, children))));

  // Eq. (8): what the parent and the siblings say about one child.
  function downward(rules, fromAbove, children, which) {
    const out = children[which].map(() => 0);
    rules.forEach((ways, y) =>
      ways.forEach((tuple) => {
        out[tuple[which]] += tuple.reduce((w, a, i) => (i === which ? w : w * children[i][a]), fromAbove[y]);
      }),
    );
    return normalise(out);
  }

  const family = (g, up, level, i) => up[level - 1].slice(g.s * i, g.s * (i + 1));

  // All messages and marginals, {up, down, marginals}, and the log of the probability of what was seen.
  function infer(g, evidence) {
    const up = [evidence.map(normalise)];
    let logEvidence = sum(evidence.map((p) => Math.log(sum(p)))) - Math.log(g.rules[g.L - 1].length);
    for (let level = 1; level <= g.L; level++) {
      const parents = Array.from({ length: g.s ** (g.L - level) }, (_, i) =>
        upward(g.rules[level - 1], family(g, up, level, i)),
      );
      up.push(parents.map(normalise));
      logEvidence += sum(parents.map((p) => Math.log(sum(p) / g.m)));
    }
    const down = [];
    down[g.L] = [normalise(up[g.L][0].map(() => 1))];
    for (let level = g.L - 1; level >= 0; level--) {
      down[level] = up[level].map((_, k) => {
        const i = Math.floor(k / g.s);
        return downward(g.rules[level], down[level + 1][i], family(g, up, level + 1, i), k % g.s);
      });
    }
    const marginals = up.map((nodes, l) => nodes.map((p, i) => normalise(p.map((a, x) => a * down[l][i][x]))));
    return { up, down, marginals, logEvidence };
  }

  // Choices with their weights laid out in a row, the one numbered `first` first; what cannot be is left out.
  function layOut(choices, weights, first) {
    const order = weights.map((_, k) => (k + Math.max(0, first)) % weights.length).filter((k) => weights[k] > 0);
    const total = sum(weights);
    let end = 0;
    return { choices: order.map((k) => choices[k]), ends: order.map((k) => (end += weights[k] / total)) };
  }
  function choose({ choices, ends }, u) {
    let k = 0;
    while (k < ends.length - 1 && u >= ends[k]) k++;
    return choices[k];
  }

  // Exact draws from the posterior, from the class down: a function of a stream of uniform numbers, one a node, that
  // returns all levels. The choice of the datum `truth` lies first in [0, 1): then the same numbers keep, at another
  // noise, what they kept here, as long as it is as probable.
  function sampler(g, up, truth) {
    const root = layOut(up[g.L][0].map((_, y) => y), up[g.L][0], truth[g.L][0]); // prettier-ignore
    const table = up.slice(1).map((nodes, below) =>
      nodes.map((_, i) => {
        const children = family(g, up, below + 1, i);
        const is = (way) => way.every((a, k) => a === truth[below][g.s * i + k]);
        return g.rules[below].map((ways) => layOut(ways, ways.map((way) => weight(way, children)), ways.findIndex(is)));
      }),
    );
    return (next) => {
      const x = [];
      x[g.L] = [choose(root, next())];
      for (let level = g.L; level >= 1; level--) {
        x[level - 1] = [];
        x[level].forEach((y, i) => x[level - 1].push(...choose(table[level - 1][i][y], next())));
      }
      return x;
    };
  }

  return { infer, sampler, normalise };
})();
if (typeof module !== "undefined") module.exports = TreeBP;
