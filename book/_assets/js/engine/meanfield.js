// The mean field of the ε-process, its fixed points and phases (hierlib.theory.meanfield, in float64 and for numbers only).
// v symbols, m rules each, s children, L levels; m may be any real number ≥ 1.
Engine.part((E) => {
  function parameters(v, m, s) {
    E.whole("v", v, 2, Infinity);
    E.whole("s", s, 2, Infinity);
    if (!Number.isFinite(v ** s)) E.complain("v, s", "v^s below 1.8e308", `v = ${v} and s = ${s}`);
    if (!(typeof m === "number" && m >= 1 && m <= v ** (s - 1))) E.refuse("m", `1 ≤ m ≤ v^(s-1) = ${v ** (s - 1)} rules per symbol`, m);
  }
  const clip = (x) => Math.min(1, Math.max(0, x));

  // Eq. (11): the belief in the true parent if its children have belief p.
  const F = (p, v, m, s) => {
    const n = v ** s - 1;
    const q = p ** s;
    return (q + ((m - 1) / n) * (1 - q)) / (q + ((m * v - 1) / n) * (1 - q));
  };
  function upwardMap(p, v, m, s) {
    parameters(v, m, s);
    return F(E.within("p", p, 0, 1), v, m, s);
  }

  // Eq. (53): that in a true child, from above and from its siblings.
  function downwardMap(q, p, v, m, s) {
    parameters(v, m, s);
    const c = (m - E.within("q", q, 0, 1)) / (v ** s - 1);
    const others = E.within("p", p, 0, 1) ** (s - 1);
    const total = q * others + c * (v - others);
    if (total === 0) E.complain("p, q, m", "evidence that some rule explains", "m = 1, q = 1 and p = 0");
    return (q * others + c * (1 - others)) / total;
  }

  // Eq. (62): the marginal of the true symbol.
  function marginal(p, q, v) {
    const total = E.within("p", p, 0, 1) * E.within("q", q, 0, 1) + ((1 - p) * (1 - q)) / (v - 1);
    if (total === 0) E.complain("p, q", "beliefs that agree on some symbol", `${p} and ${q}`);
    return (p * q) / total;
  }

  // Eqs. (57-62): {p, q, P}, the upward and downward beliefs and the marginals, each [level], leaves first.
  function solve(eps, v, m, s, L) {
    parameters(v, m, s);
    E.within("eps", eps, 0, 1);
    E.whole("L", L, 1, Infinity);
    const p = [1 - eps + eps / v];
    while (p.length <= L) p.push(clip(F(p[p.length - 1], v, m, s)));
    const q = [];
    q[L] = 1 / v;
    for (let l = L - 1; l >= 0; l--) q[l] = clip(downwardMap(q[l + 1], p[l], v, m, s));
    return { p, q, P: p.map((a, l) => marginal(a, q[l], v)) };
  }

  function m_KS(v, s) {
    parameters(v, 1, s);
    return (s * v ** (s - 1) * (v - 1)) / (v ** s - 1);
  }
  function m_c(v, s) {
    parameters(v, 1, s);
    return (v ** s - 1) / (s * (v - 1));
  }

  // 1/v, p* and 1, where p* is the positive root of Σ (v^k - m) p^k, k < s; its coefficients change sign once.
  function fixedPoints(v, m, s) {
    parameters(v, m, s);
    if (m === 1 || m === v ** (s - 1)) return [1 / v, m === 1 ? 0 : Infinity, 1];
    let [low, high] = [0, 1];
    for (let i = 0; i < 60; i++) {
      const u = (low + high) / 2;
      let value = 0;
      for (let k = 0; k < s; k++) value += (v ** k - m) * u ** k * (1 - u) ** (s - 1 - k);
      if (value < 0) low = u;
      else high = u;
    }
    return [1 / v, low / (1 - low), 1];
  }

  // ε*: in a tree of infinite depth the class is kept below it, and lost above.
  const criticalNoise = (v, m, s) => (1 - Math.min(1, Math.max(1 / v, fixedPoints(v, m, s)[1]))) / (1 - 1 / v);
  function phase(v, m, s) {
    parameters(v, m, s);
    return m >= m_c(v, s) ? "never" : m <= m_KS(v, s) ? "always" : "below";
  }

  // Of rules with the weights of zipf(m, a), m a whole number. By what a small belief above chance grows a level, m_KS Σw².
  const gainAtChance = (v, m, s, a) => (m_KS(v, s) * E.powerSum(m, 2 * a)) / E.powerSum(m, a) ** 2;

  // Below 1 if small doubts die out up the tree: the least of s Σ w (c/w)^θ over the θ of hierlib, its logarithm is convex.
  function gainAtCertainty(v, m, s, a) {
    const [c, total] = [1 / (s * m_c(v, s)), E.powerSum(m, a)];
    const gain = (k) => (s * c ** (k / 1000) * E.powerSum(m, a * (1 - k / 1000))) / total ** (1 - k / 1000);
    let [low, high] = [1, 1000];
    while (low < high) {
      const k = (low + high) >> 1;
      if (gain(k) < gain(k + 1)) high = k;
      else low = k + 1;
    }
    return gain(low);
  }

  // The map up averaged over the rule that was used, a function of p: one level's, of children who all believe alike.
  function meanUpwardMap(v, m, s, a) {
    parameters(v, m, s);
    const runs = [];
    for (let k = 1, end; k <= m; k = end + 1) {
      end = Math.min(m, Math.floor(1.01 * k)); // ranks of nearly equal weight are taken together
      const share = (E.powerSum(end, a) - E.powerSum(k - 1, a)) / E.powerSum(m, a);
      runs.push([share, share / (end - k + 1)]);
    }
    return (p) => runs.reduce((sum, [share, w]) => sum + share * ruleMap(p, v, w, s), 0);
  }

  // F of a rule of weight w, with 1/w in place of m.
  function ruleMap(p, v, w, s) {
    const [told, u] = [w * E.within("p", p, 0, 1) ** s, (1 - p ** s) / (v ** s - 1)];
    return (told + (1 - w) * u) / (told + (v - w) * u);
  }

  const even = { upwardMap, downwardMap, marginal, solve, m_KS, m_c, fixedPoints, criticalNoise, phase };
  E.meanfield = { ...even, gainAtChance, gainAtCertainty, ruleMap, meanUpwardMap };
});
