// The mean field of the ε-process, its fixed points and phases: the arithmetic that several live figures share.
// v symbols, m rules each, s children, L levels; m may be any real number ≥ 1. The names are hierlib.theory.meanfield's.
const MeanField = (() => {
  // Eq. (11): the belief in the true parent if its children have belief p.
  const F = (p, v, m, s) => {
    const n = v ** s - 1;
    const q = p ** s;
    return (q + ((m - 1) / n) * (1 - q)) / (q + ((m * v - 1) / n) * (1 - q));
  };
  // Eq. (53): that in a true child, from above and from its siblings.
  const down = (q, p, v, m, s) => {
    const c = (m - q) / (v ** s - 1);
    const others = p ** (s - 1);
    return (q * others + c * (1 - others)) / (q * others + c * (v - others));
  };
  const mKS = (v, s) => (s * v ** (s - 1) * (v - 1)) / (v ** s - 1);
  const mC = (v, s) => (v ** s - 1) / (s * (v - 1));
  // The third fixed point, the positive root of Σ (v^k - m) p^k, k < s; its coefficients change sign once.
  const star = (v, m, s) => {
    let [low, high] = [0, 1];
    for (let i = 0; i < 60; i++) {
      const u = (low + high) / 2;
      let value = 0;
      for (let k = 0; k < s; k++) value += (v ** k - m) * u ** k * (1 - u) ** (s - 1 - k);
      if (value < 0) low = u;
      else high = u;
    }
    return low / (1 - low);
  };
  const criticalNoise = (v, m, s) => (1 - Math.min(1, Math.max(1 / v, star(v, m, s)))) / (1 - 1 / v);
  const phase = (v, m, s) => (m >= mC(v, s) ? "never" : m <= mKS(v, s) ? "always" : "below");

  // Eqs. (57-62): {p, q, P}, the upward and downward beliefs and the marginals, each [level], leaves first.
  const solve = (eps, v, m, s, L) => {
    const p = [1 - eps + eps / v];
    while (p.length <= L) p.push(Math.min(1, F(p[p.length - 1], v, m, s)));
    const q = [];
    q[L] = 1 / v;
    for (let l = L - 1; l >= 0; l--) q[l] = Math.min(1, down(q[l + 1], p[l], v, m, s));
    const P = p.map((a, l) => (a * q[l]) / (a * q[l] + ((1 - a) * (1 - q[l])) / (v - 1)));
    return { p, q, P };
  };
  return { F, mKS, mC, star, criticalNoise, phase, solve };
})();
if (typeof module !== "undefined") module.exports = MeanField;
