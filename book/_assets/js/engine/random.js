// Random numbers that are a function of a seed and of how many came before: one seed is one experiment in every browser.
Engine.part((E) => {
  // The upper half of the product of two numbers of 32 bits, from four products of 16; no sum leaves 32 bits.
  function high(a, b) {
    const [low, above, right, left] = [a & 0xffff, a >>> 16, b & 0xffff, b >>> 16];
    const middle = (Math.imul(above, right) + (Math.imul(low, right) >>> 16)) | 0;
    const rest = (Math.imul(low, left) + (middle & 0xffff)) | 0;
    return (Math.imul(above, left) + (middle >>> 16) + (rest >>> 16)) | 0;
  }

  // Philox 4×32 with ten rounds (Salmon, Moraes, Dror and Shaw, Parallel random numbers: as easy as 1, 2, 3, SC 2011):
  // four numbers of 32 bits for a counter of four and a key of two, written to out.
  function philox(counter, key, out = new Uint32Array(4)) {
    let [a, b, c, d] = [counter[0] | 0, counter[1] | 0, counter[2] | 0, counter[3] | 0];
    let [k, l] = [key[0] | 0, key[1] | 0];
    for (let round = 0; round < 10; round++) {
      const [p, q] = [high(a, 0xd2511f53), high(c, 0xcd9e8d57)];
      const [r, t] = [Math.imul(a, 0xd2511f53), Math.imul(c, 0xcd9e8d57)];
      a = q ^ b ^ k;
      b = t;
      c = p ^ d ^ l;
      d = r;
      k = (k + 0x9e3779b9) | 0;
      l = (l + 0xbb67ae85) | 0;
    }
    out[0] = a;
    out[1] = b;
    out[2] = c;
    out[3] = d;
    return out;
  }

  // The stream of the blocks 0, 1, 2, … of a key (seed, stream), both whole numbers below 2^32; block n has the
  // counter (n mod 2^32, n div 2^32, 0, 0).
  class Generator {
    constructor(seed, stream = 0) {
      this.key = [E.whole("seed", seed, 0, 2 ** 32 - 1), E.whole("stream", stream, 0, 2 ** 32 - 1)];
      this.counter = new Uint32Array(4);
      this.block = new Uint32Array(4);
      this.left = 0; // of the block
      this.spare = null; // the other normal number of a pair
    }

    // Another that goes on as this one would.
    copy() {
      const other = new Generator(...this.key);
      other.counter.set(this.counter);
      other.block.set(this.block);
      return Object.assign(other, { left: this.left, spare: this.spare });
    }

    // 32 random bits, as a whole number.
    bits() {
      if (!this.left) {
        philox(this.counter, this.key, this.block);
        if (++this.counter[0] === 2 ** 32) this.counter[1]++; // and the first is 0
        this.left = 4;
      }
      return this.block[4 - this.left--];
    }

    // Uniform in (0, 1), never an end.
    uniform() {
      return (this.bits() + 0.5) / 2 ** 32;
    }

    // Uniform among 0 … n-1, n ≤ 2^32, each exactly as likely as any other.
    below(n) {
      const end = 2 ** 32 - (2 ** 32 % n);
      let r = this.bits();
      while (r >= end) r = this.bits();
      return r % n;
    }

    // Standard normal (Box and Muller).
    normal() {
      if (this.spare !== null) {
        const kept = this.spare;
        this.spare = null;
        return kept;
      }
      const radius = Math.sqrt(-2 * Math.log(this.uniform()));
      const angle = 2 * Math.PI * this.uniform();
      this.spare = radius * Math.sin(angle);
      return radius * Math.cos(angle);
    }
  }

  function checkGenerator(generator) {
    if (!(generator instanceof Generator)) E.refuse("generator", "an Engine.Generator, as new Engine.Generator(0)", generator);
    return generator;
  }

  Object.assign(E, { philox, Generator, checkGenerator });
});
