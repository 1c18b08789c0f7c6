// What the map knows of uneven rules, weights ∝ k^-a. In closed form: up to how many rules chance is unstable, and certainty
// stable. From the pool of beliefs: at one noise at once, of few beliefs; at all noises, and how much noise a deep tree bears
// with so many rules, by workers once the hand rests. A point is {v, m, s, L, a, eps, top}, where m runs from 1 to top.
const MapPool = (() => {
  const DEEP = 60; // levels
  const TRACE = 0.01; // less noise than that is none: next to it a pool of so many levels is not done yet
  const MOST = 2 ** 16; // rules of a symbol
  const MEANS = 2 ** 32 - 2; // of the seed, the stream of engine/jobs.js
  // Where the slider of the noise may stand, coarse to fine.
  const NOISES = [...new Set([50, 10, 5, 2, 1].flatMap((step) => Array.from({ length: 200 / step + 1 }, (_, k) => (k * step) / 200)))];

  // The largest of 1 … top of which something is true that is true of all smaller ones, 0 if of none.
  function last(top, holds) {
    let [low, high] = [0, top];
    while (low < high) {
      const m = (low + high + 1) >> 1;
      if (holds(m)) low = m;
      else high = m - 1;
    }
    return low;
  }

  // Up to how many rules is a deep tree's class kept at every noise; and up to how many do small doubts die out?
  function edges({ v, s, a, top }) {
    const { gainAtChance, gainAtCertainty } = Engine.meanfield;
    return { always: last(top, (m) => gainAtChance(v, m, s, a) > 1), certain: last(top, (m) => gainAtCertainty(v, m, s, a) < 1) };
  }

  // Numbers of rules at which the line of the plane is computed: some in even steps, every fourth first, and those at the edges.
  function rules({ top, always, certain }) {
    const steps = Array.from({ length: 25 }, (_, i) => Math.round(1 + ((top - 1) * i) / 24));
    const all = [always + 1, certain, certain + 1, ...steps.filter((_, i) => i % 4 === 0), ...steps];
    return [...new Set(all)].filter((m) => m > always && m <= top);
  }

  // more() is called when more is known than before.
  function create(more) {
    let [near, cut, plane] = [{}, {}, {}]; // what is known, and by key of which setting
    let [waiting, wanted, due] = [0, "", false];
    const soon = () => {
      if (due) return;
      due = true;
      setTimeout(() => {
        due = false;
        more();
      }, 60);
    };
    const anew = (old, key, others) => {
      old.job?.stop();
      return { key, found: new Map(), ...others };
    };

    // Go to a point; what is not known there is computed once this is the last for a while. Without a, all stops.
    function take(point) {
      const { v, m, s, L, a, top } = point;
      const [atCut, atPlane] = [[v, m, s, L, a].join(), [v, s, a].join()];
      if (cut.key !== atCut) cut = anew(cut, atCut);
      if (plane.key !== atPlane) plane = anew(plane, atPlane, a ? { top, ...edges(point) } : {});
      const key = `${atCut};${atPlane}`;
      if (wanted === key) return;
      wanted = key;
      clearTimeout(waiting);
      if (a) waiting = setTimeout(() => start(point), 150);
    }

    function start({ v, m, s, L, a, eps }) {
      const all = [eps, ...NOISES];
      cut.job = Engine.start("meanField", { v, m, s, L, a, eps: all }, (piece) => {
        cut.found.set(all[piece.point], piece);
        soon();
      });
      const missing = [m, ...rules(plane)].filter((k) => k > plane.always && !plane.found.has(k));
      plane.job?.stop();
      if (!missing.length) return;
      plane.job = Engine.start("halfHeights", { v, s, a, L: DEEP, rules: missing }, (piece) => {
        plane.found.set(piece.m, piece.eps);
        soon();
      });
    }

    // Up and marginal at the noise of the point, leaves first.
    function levels({ v, m, s, L, a, eps }) {
      if (cut.found.has(eps)) return cut.found.get(eps);
      if (near.key !== cut.key) {
        const generator = new Engine.Generator(0, MEANS);
        const size = 2 ** (L * s > 40 ? 8 : 9); // for what a redraw may take
        near = { key: cut.key, at: Engine.population.poolOfBeliefs(Engine.zipf(m, a), { v, s, L, size, generator }) };
      }
      return near.at(eps);
    }

    // The noise up to which a deep tree keeps its class with m rules, null where that is not known yet.
    function bears(m) {
      if (m <= plane.always) return 1;
      const eps = plane.found.get(m) ?? null;
      return eps === null || m <= plane.certain || eps > TRACE ? eps : 0;
    }

    return {
      take,
      levels,
      bears,
      edges: () => plane,
      // [[eps, marginal], …] as far as they are known, by eps.
      cut: () => [...cut.found].map(([eps, { marginal }]) => [eps, marginal]).sort((one, other) => one[0] - other[0]),
      // [[m, eps], …] likewise, by m.
      line: () => {
        const known = [...plane.found.keys(), ...(plane.always ? [1, plane.always] : [])];
        return [...new Set(known)].sort((one, other) => one - other).map((m) => [m, bears(m)]);
      },
    };
  }

  return { create, edges, rules, DEEP, TRACE, MOST };
})();
if (typeof module !== "undefined") module.exports = MapPool;
