// Noise: how leaves are corrupted, and what is then known of each of them (hierlib.noise). All take any number of leaves,
// the rows of a batch one after the other; evidence has v numbers a leaf that add up to one, of the dtype "float32" or
// "float64", which decides in what inference is done.
Engine.part((E) => {
  function numbers(dtype) {
    if (dtype !== "float32" && dtype !== "float64") E.refuse("dtype", '"float32" or "float64"', dtype);
    return dtype === "float32" ? Float32Array : Float64Array;
  }

  // Belief 1-ε+ε/v in the symbol, ε/v in every other one, eqs. (9, 10).
  function epsilonEvidence(x0, { eps, v, dtype = "float32" }) {
    E.whole("v", v, 1, Infinity);
    E.within("eps", eps, 0, 1);
    E.checkSymbols("x0", x0, v);
    const evidence = new (numbers(dtype))(x0.length * v).fill(eps / v);
    x0.forEach((a, i) => (evidence[i * v + a] = 1 - eps + eps / v));
    return evidence;
  }

  class Noise {
    constructor(v, { dtype = "float32" } = {}) {
      this.v = E.whole("v", v, 1, Infinity);
      this.dtype = dtype;
      this.numbers = numbers(dtype);
    }

    // What is seen of leaves as a function of t, the random numbers behind it the same at every t.
    path(x0, { generator }) {
      E.checkGenerator(generator);
      return (t) => this.corrupt(x0, t, { generator: generator.copy() });
    }

    // Every leaf, and with probability t what `redrawn` makes of it.
    replace(x0, t, generator, redrawn) {
      E.checkSymbols("x0", x0, this.v);
      E.within("t", t, 0, 1);
      E.checkGenerator(generator);
      return Int32Array.from(x0, (a) => {
        const hit = generator.uniform() < t;
        const other = redrawn(); // drawn in any case: the numbers of the leaves after it do not depend on t
        return hit ? other : a;
      });
    }
  }

  // The ε-process: nothing is corrupted, beliefs about the data are assigned.
  class EpsilonNoise extends Noise {
    corrupt(x0, t) {
      E.checkSymbols("x0", x0, this.v);
      E.within("t", t, 0, 1);
      return Int32Array.from(x0);
    }

    evidence(x_t, t) {
      return epsilonEvidence(x_t, { eps: E.within("t", t, 0, 1), v: this.v, dtype: this.dtype });
    }
  }

  // Each leaf becomes the mask, written v, with probability t.
  class MaskNoise extends Noise {
    corrupt(x0, t, { generator }) {
      return this.replace(x0, t, generator, () => this.v);
    }

    evidence(x_t) {
      E.checkSymbols("x_t", x_t, this.v + 1);
      const evidence = new this.numbers(x_t.length * this.v);
      x_t.forEach((a, i) => {
        if (a === this.v) evidence.fill(1 / this.v, i * this.v, (i + 1) * this.v);
        else evidence[i * this.v + a] = 1;
      });
      return evidence;
    }
  }

  // Each leaf is drawn anew among the v symbols with probability t.
  class UniformNoise extends Noise {
    corrupt(x0, t, { generator }) {
      return this.replace(x0, t, generator, () => generator.below(this.v));
    }

    evidence(x_t, t) {
      return epsilonEvidence(x_t, { eps: E.within("t", t, 0, 1), v: this.v, dtype: this.dtype });
    }
  }

  // Diffusion of the one-hot leaves, x_t = √ᾱ_t x_0 + √(1-ᾱ_t) η with ᾱ_t = exp(-2t), eqs. (2) = (12).
  class GaussianNoise extends Noise {
    alphaBar(t) {
      if (!(typeof t === "number" && t >= 0 && Math.exp(-2 * t) > 0)) E.refuse("t", "a time t ≥ 0 at which exp(-2t) > 0", t);
      return Math.exp(-2 * t);
    }

    // (n, d, v) for leaves (n, d).
    corrupt(x0, t, { generator }) {
      this.alphaBar(t); // is refused before a number is drawn
      return this.path(x0, { generator })(t);
    }

    path(x0, { generator }) {
      E.checkSymbols("x0", x0, this.v);
      E.checkGenerator(generator);
      const eta = new Float64Array(x0.length * this.v);
      for (let k = 0; k < eta.length; k++) eta[k] = generator.normal();
      return (t) => {
        const alphaBar = this.alphaBar(t);
        const [signal, spread] = [Math.sqrt(alphaBar), Math.sqrt(1 - alphaBar)];
        const x_t = new this.numbers(eta.length);
        for (let k = 0; k < eta.length; k++) x_t[k] = spread * eta[k];
        for (let i = 0; i < x0.length; i++) x_t[i * this.v + x0[i]] += signal;
        return x_t;
      };
    }

    // softmax(x_t / Δ_t) with Δ_t = (1-ᾱ_t)/√ᾱ_t, eqs. (4) = (13).
    evidence(x_t, t) {
      const { v } = this;
      const alphaBar = this.alphaBar(t);
      if (alphaBar === 1) E.complain("t", "ᾱ_t < 1", "ᾱ_t = 1 (no noise); use epsilonEvidence with eps = 0");
      if (!(x_t?.length % v === 0)) E.refuse("x_t", `${v} numbers a leaf`, x_t);
      const inverse = Math.sqrt(alphaBar) / (1 - alphaBar);
      const evidence = new this.numbers(x_t.length);
      for (let at = 0; at < x_t.length; at += v) {
        let [top, total] = [-Infinity, 0];
        for (let k = at; k < at + v; k++) {
          const scaled = x_t[k] * inverse;
          if (!Number.isFinite(scaled)) E.refuse("x_t", "finite numbers, also once divided by Δ_t", scaled);
          if (scaled > top) top = scaled;
        }
        for (let k = at; k < at + v; k++) total += evidence[k] = Math.exp(x_t[k] * inverse - top);
        for (let k = at; k < at + v; k++) evidence[k] /= total;
      }
      return evidence;
    }
  }

  Object.assign(E, { epsilonEvidence, EpsilonNoise, GaussianNoise, MaskNoise, UniformNoise });
});
