// The engine: hierlib in the reader's browser. What it computes, takes and refuses is what hierlib does; its functions bear
// hierlib's names in JavaScript's spelling (random_grammar is Engine.randomGrammar, num_samples is numSamples), and what
// takes keywords there takes an object here. Tensors are typed arrays, row by row: evidence of the shape (batch, s^L, v)
// is one array of that many numbers, and the batch is known by its length. Level 0 is the leaves, L the class.
//
//   engine.js     this registry, and how a bad argument is refused
//   random.js     Generator, philox
//   weights.js    zipf, powerSum, and the weights of rules
//   model.js      Grammar, randomGrammar, sample, parse, parentsOf
//   noise.js      epsilonEvidence, EpsilonNoise, GaussianNoise, MaskNoise, UniformNoise
//   float64.js    the reference kernel of inference
//   simd.js       loops in WebAssembly
//   float32.js    the fast kernel, which calls them
//   inference.js  infer, classPosterior, posteriorSample, overlap
//   meanfield.js  meanfield.solve, upwardMap, downwardMap, fixedPoints, criticalNoise, m_KS, m_c, phase;
//                 of uneven rules gainAtChance, gainAtCertainty, ruleMap, meanUpwardMap
//   population.js population.poolOfBeliefs
//   evolution.js  evolution.classCurve
//   jobs.js       what a worker computes: levelCurves, classPoints, meanField, halfHeights, classCurve
//   worker.js     start: a job in a worker, which reports and can be stopped
//
// A part is one function that adds its names to the engine and uses nothing else, so that its text alone makes the
// engine anew: a page opened from a file may start a worker of a text, but not of a neighbouring file.
globalThis.Engine = (() => {
  const parts = [];
  const E = {
    part(make) {
      parts.push(make);
      make(E);
    },
    source: () => `globalThis.Engine = {};${parts.map((make) => `(${make})(Engine);`).join("\n")}`,
  };
  return E;
})();

Engine.part((E) => {
  const said = (x) => {
    if (ArrayBuffer.isView(x) || Array.isArray(x)) return `${x.constructor.name} of ${x.length} numbers`;
    if (typeof x === "number" || x === undefined || x === null) return String(x);
    return typeof x === "string" || typeof x === "boolean" ? JSON.stringify(x) : (x.constructor?.name ?? typeof x);
  };

  // All errors of the engine are of this form; got is what came, or words about it.
  function complain(name, expected, words) {
    throw new Error(`${name}: expected ${expected}, got ${words}`);
  }
  const refuse = (name, expected, got) => complain(name, expected, said(got));

  function whole(name, value, least, most) {
    if (!Number.isSafeInteger(value)) refuse(name, "a whole number", value);
    if (value < least) refuse(name, `at least ${least}`, value);
    if (value > most) refuse(name, `at most ${most}`, value);
    return value;
  }

  function within(name, value, low, high) {
    if (!(typeof value === "number" && value >= low && value <= high))
      refuse(name, `a number in [${low}, ${high}]`, value);
    return value;
  }

  Object.assign(E, { complain, refuse, whole, within });
});
