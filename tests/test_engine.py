"""The engine of the live figures, in a browser, against hierlib: the same beliefs, draws and refusals."""

import math

import pytest
import torch
from scipy import stats

import hierlib as hl
from hierlib.enumeration import all_data

from . import browser as b
from .engine import PARTS, as_json, opened

# v, m, s, L and the number of classes.
GRAMMARS = [
    *((4, 2, 2, 3, 4), (2, 1, 2, 1, 2), (2, 2, 2, 5, 2), (8, 8, 2, 4, 8), (16, 4, 2, 6, 16), (32, 8, 2, 10, 32)),
    *((5, 3, 2, 4, 2), (7, 2, 2, 12, 9), (64, 5, 2, 5, 3), (10, 1, 2, 3, 1)),
    *((3, 9, 3, 2, 3), (4, 3, 3, 4, 4), (6, 7, 3, 3, 20), (24, 12, 3, 4, 24), (2, 1, 3, 7, 2)),
    *((3, 4, 4, 2, 3), (2, 8, 4, 4, 2), (9, 2, 4, 3, 5), (16, 30, 4, 3, 16), (5, 1, 4, 1, 5)),
]
NOISES = {
    "EpsilonNoise": (hl.EpsilonNoise, 0.4),
    "GaussianNoise": (hl.GaussianNoise, 0.3),
    "MaskNoise": (hl.MaskNoise, 0.5),
    "UniformNoise": (hl.UniformNoise, 0.2),
}


def philox(counter, key):
    """Philox 4×32, ten rounds, from its paper."""
    (a, b, c, d), (k, l) = counter, key
    for _ in range(10):
        p, q = 0xD2511F53 * a, 0xCD9E8D57 * c
        a, b, c, d = (q >> 32) ^ b ^ k, q % 2**32, (p >> 32) ^ d ^ l, p % 2**32
        k, l = (k + 0x9E3779B9) % 2**32, (l + 0xBB67AE85) % 2**32
    return [a, b, c, d]


# Of the library Random123, its file kat_vectors: counter, key, four numbers.
KNOWN = [
    ([0] * 4, [0] * 2, [0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8]),
    ([2**32 - 1] * 4, [2**32 - 1] * 2, [0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD]),
    (
        [0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344],
        [0xA4093822, 0x299F31D0],
        [0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1],
    ),
]


def test_random_numbers_are_those_of_philox(engine):
    got = engine("return data.map(([counter, key]) => [...E.philox(counter, key)]);", [row[:2] for row in KNOWN])
    assert got == [row[2] for row in KNOWN] == [philox(*row[:2]) for row in KNOWN]


@pytest.mark.parametrize("seed, stream", [(0, 0), (7, 3), (2**32 - 1, 2**32 - 1)])
def test_a_seed_is_one_stream_of_numbers(engine, seed, stream):
    script = """
      const make = () => new E.Generator(...data), [a, b, c, d] = [make(), make(), make(), make()];
      const many = (f) => Array.from({ length: 40 }, f);
      d.counter[0] = 2 ** 32 - 1;
      return [many(() => a.bits()), many(() => b.uniform()), many(() => c.normal()), many(() => d.bits())];"""
    bits, uniform, normal, late = engine(script, [seed, stream])
    assert bits == [x for n in range(10) for x in philox([n, 0, 0, 0], [seed, stream])]
    assert late[:8] == [x for n in (2**32 - 1, 2**32) for x in philox([n % 2**32, n >> 32, 0, 0], [seed, stream])]
    assert uniform == [(x + 0.5) / 2**32 for x in bits]
    pairs = [(math.sqrt(-2 * math.log(u)), 2 * math.pi * w) for u, w in zip(uniform[::2], uniform[1::2], strict=True)]
    wanted = [x for radius, angle in pairs for x in (radius * math.cos(angle), radius * math.sin(angle))]
    assert normal == pytest.approx(wanted[:40], abs=1e-12)


def test_whole_numbers_are_even(engine):
    script = """
      const next = new E.Generator(1), counts = [0, 0, 0, 0, 0, 0, 0];
      for (let i = 0; i < 70000; i++) counts[next.below(7)]++;
      const far = Array.from({ length: 3000 }, () => next.below(3 * 2 ** 30)); // a fourth of the bits is drawn again
      return [counts, [0, 1, 2].map((k) => far.filter((x) => Math.floor(x / 2 ** 30) === k).length)];"""
    for counts in engine(script):
        assert stats.chisquare(counts).pvalue > 1e-4


def steep(v, m, s, L, classes, rng):
    """Zipf's weights, in an order of its own for each symbol, and steeper from level to level."""
    tables = [hl.zipf(m, 0.5 + 0.5 * (level % 4)).repeat(classes if level == L - 1 else v, 1) for level in range(L)]
    return [table.gather(1, torch.rand(table.shape, generator=rng).argsort(1)) for table in tables]


FAR = {"float64": (1e-9, 1e-10), "float32": (1e-5, 1e-5)}  # beliefs, absolute; log evidence, relative


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("dtype", FAR)
@pytest.mark.parametrize("noise", NOISES)
def test_beliefs_are_those_of_hierlib(engine, noise, dtype, weighted):
    script = """
      const g = new E.Grammar(data.g), noise = new E[data.noise](g.v, { dtype: data.dtype }), seen = data.seen.flat(9);
      const evidence = noise.evidence(seen, data.t), b = E.infer(g, evidence), alone = E.classPosterior(g, evidence);
      const far = (name, rows) => Math.max(...rows.map((row, l) => {
        const wanted = row.flat(Infinity);
        if (wanted.length !== b[name][l].length) return Infinity;
        return wanted.reduce((most, p, i) => Math.max(most, Math.abs(p - b[name][l][i])), 0); // NaN, once there, stays
      }));
      return {
        far: ["up", "down", "marginals"].map((name) => far(name, data[name])), logEvidence: [...b.logEvidence],
        alone: [...alone.marginal].map((p, i) => p - b.marginals[g.L][i]), aloneEvidence: [...alone.logEvidence],
        fast: b.marginals[0] instanceof Float32Array,
        overlap: [...E.overlap(b, data.x.map((level) => level.flat()))],
      };"""
    rng = torch.Generator().manual_seed(1)
    for v, m, s, L, classes in GRAMMARS:
        weights = steep(v, m, s, L, classes, rng) if weighted else None
        g = hl.random_grammar(v=v, m=m, s=s, L=L, num_classes=classes, weights=weights, generator=rng)
        kind, t = NOISES[noise]
        process, batch = kind(v, dtype=torch.float64), 1 if g.d > 500 else 2
        x = hl.sample(g, batch, generator=rng)
        seen = process.corrupt(x[0], t, generator=rng)
        wanted = hl.infer(g, process.evidence(seen, t))
        lists = {name: [level.tolist() for level in getattr(wanted, name)] for name in ("up", "down", "marginals")}
        data = {
            "g": as_json(g),
            "noise": noise,
            "dtype": dtype,
            "t": t,
            "seen": seen.tolist(),
            "x": [level.tolist() for level in x],
        }
        got = engine(script, data | lists)
        belief, log = FAR[dtype]
        assert max(got["far"]) < belief, (v, m, s, L, classes)
        assert got["fast"] == (dtype == "float32")
        assert got["logEvidence"] == pytest.approx(wanted.log_evidence.tolist(), rel=log, abs=log)
        assert max(map(abs, got["alone"])) < belief and got["aloneEvidence"] == got["logEvidence"]
        assert got["overlap"] == pytest.approx(hl.overlap(wanted, x).tolist(), abs=belief)


@pytest.mark.parametrize("scale", [1e-200, 0.01, 1e200])
def test_evidence_of_any_size_and_a_prior(engine, scale):
    rng = torch.Generator().manual_seed(3)
    g = hl.random_grammar(v=4, m=2, s=3, L=3, generator=rng)
    evidence = scale * torch.rand(2, g.d, g.v, dtype=torch.float64, generator=rng)
    prior = torch.rand(2, g.v, dtype=torch.float64, generator=rng)
    wanted = hl.infer(g, evidence, class_prior=prior)
    script = """
      const b = E.infer(new E.Grammar(data.g), data.evidence, { classPrior: data.prior });
      return [[...b.logEvidence], [...b.marginals[0]], [...b.rows("marginals", 1)[3][0]]];"""
    data = {"g": as_json(g), "evidence": evidence.flatten().tolist(), "prior": prior.flatten().tolist()}
    log_evidence, leaves, root = engine(script, data)
    assert log_evidence == pytest.approx(wanted.log_evidence.tolist(), rel=1e-12)
    assert leaves == pytest.approx(wanted.marginals[0].flatten().tolist(), abs=1e-12)
    assert root == pytest.approx(wanted.marginals[3][1, 0].tolist(), abs=1e-12)


def counted(draws: list, data: torch.Tensor) -> list[int]:
    """How often each of all data, by their leaves, is among draws."""
    place = {tuple(leaves): i for i, leaves in enumerate(data.tolist())}
    counts = [0] * len(place)
    for leaves in draws:
        counts[place[tuple(leaves)]] += 1
    return counts


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("v, m, s, L", [(3, 2, 2, 2), (2, 2, 3, 2), (3, 2, 4, 1), (4, 4, 2, 1)])
def test_draws_are_the_posterior(engine, v, m, s, L, weighted):
    rng = torch.Generator().manual_seed(v)
    g = hl.random_grammar(v=v, m=m, s=s, L=L, weights=steep(v, m, s, L, v, rng) if weighted else None, generator=rng)
    evidence = torch.rand(1, g.d, v, dtype=torch.float64, generator=rng)
    x = all_data(g)
    law = hl.log_probability(g, x[0]).exp()
    weight = law * evidence[0, torch.arange(g.d), x[0]].prod(1)
    n = 20_000
    script = """
      const g = new E.Grammar(data.g), generator = new E.Generator(5), first = data.first.map((level) => level.flat());
      const rows = (y) => Array.from({ length: y.length / g.d }, (_, i) => [...y.subarray(i * g.d, (i + 1) * g.d)]);
      const posterior = (more) => E.posteriorSample(g, data.evidence, { numSamples: data.n, generator, ...more });
      return [E.sample(g, data.n, { generator }), posterior({}), posterior({ first })].map((y) => rows(y[0]));"""
    data = {"g": as_json(g), "evidence": evidence.flatten().tolist(), "n": n}
    data["first"] = [level[5:6].tolist() for level in x]
    prior, *posterior = engine(script, data)
    assert stats.chisquare(counted(prior, x[0]), (n * law).tolist()).pvalue > 1e-4
    for draws in posterior:
        assert stats.chisquare(counted(draws, x[0]), (n * weight / weight.sum()).tolist()).pvalue > 1e-4


def test_a_drawn_grammar_is_one_of_hierlib_and_uniform(engine):
    script = """
      const generator = new E.Generator(2), rules = (g) => g.rules.map((rule) => [...rule]);
      const tiny = { v: 2, m: 1, s: 2, L: 1, generator };
      const small = Array.from({ length: 6000 }, () => rules(E.randomGrammar(tiny))[0]);
      const drawn = data.map(([v, m, s, L, numClasses]) => {
        const g = E.randomGrammar({ v, m, s, L, numClasses, generator }), x = E.sample(g, 3, { generator });
        const parsed = E.parse(g, x[0]), same = parsed.every((level, l) => level.every((y, i) => y === x[l][i]));
        return [rules(g), x.map((level) => [...level]), same];
      });
      return [small, drawn];"""
    small, drawn = engine(script, GRAMMARS)
    for (v, m, s, L, classes), (rules, x, same) in zip(GRAMMARS, drawn, strict=True):
        g = hl.Grammar(v, m, s, L, classes, tuple(torch.tensor(rule).reshape(-1, m, s) for rule in rules))  # checks
        parsed = hl.parse(g, torch.tensor(x[0]).reshape(3, -1))
        assert same and [level.flatten().tolist() for level in parsed] == x
    pairs = [8 * a + 4 * b + 2 * c + d for a, b, c, d in small]
    counts = [pairs.count(code) for code in range(16) if code % 4 != code // 4]
    assert sum(counts) == 6000 and stats.chisquare(counts).pvalue > 1e-4


def test_noise_corrupts_as_hierlib_does(engine):
    script = """
      const x = new Int32Array(4000).map((_, i) => i % 5), generator = () => new E.Generator(4);
      const seen = (name, t) => {
        const noise = new E[name](5, { dtype: "float64" }), path = noise.path(x, { generator: generator() });
        const alone = noise.corrupt(x, t, { generator: generator() });
        if (![0.9, t].map(path)[1].every((a, k) => a === alone[k])) throw new Error(`${name}: another path`);
        return [...alone];
      };
      return { mask: seen("MaskNoise", 0.3), more: seen("MaskNoise", 0.6), uniform: seen("UniformNoise", 0.5),
        gauss: seen("GaussianNoise", 0.4), later: seen("GaussianNoise", 0.9), epsilon: seen("EpsilonNoise", 0.9) };"""
    got = engine(script)
    x = torch.arange(4000) % 5
    mask, more, uniform = (torch.tensor(got[name]) for name in ("mask", "more", "uniform"))
    assert got["epsilon"] == x.tolist()
    assert ((mask == x) | (mask == 5)).all() and stats.binomtest(int((mask == 5).sum()), 4000, 0.3).pvalue > 1e-4
    assert ((mask != 5) | (more == 5)).all(), "the same numbers erase more at more noise"
    assert stats.binomtest(int((uniform == x).sum()), 4000, 0.5 + 0.5 / 5).pvalue > 1e-4
    one_hot = torch.nn.functional.one_hot(x).double().flatten()
    eta, later = (
        (torch.tensor(got[name], dtype=torch.float64) - math.exp(-t) * one_hot) / (1 - math.exp(-2 * t)) ** 0.5
        for name, t in (("gauss", 0.4), ("later", 0.9))
    )
    torch.testing.assert_close(eta, later, rtol=0, atol=1e-12)
    assert stats.kstest(eta.numpy(), "norm").pvalue > 1e-4


def test_many_data_of_a_small_tree_are_those_of_one_after_the_other(engine):
    script = """
      const generator = new E.Generator(3), g = E.randomGrammar({ v: 5, m: 3, s: 3, L: 3, numClasses: 4, generator });
      const x = E.sample(g, 100, { generator }), noise = new E.UniformNoise(5), prior = [0.1, 0.2, 0.3, 0.4];
      const evidence = noise.evidence(noise.corrupt(x[0], 0.3, { generator }), 0.3);
      const all = E.infer(g, evidence, { classPrior: prior });
      const classes = E.classPosterior(g, evidence, { classPrior: prior }).marginal;
      let far = 0;
      const compare = (a, b) => (far = Math.max(far, Math.abs(a - b)));
      for (let b = 0; b < 100; b++) {
        const row = Float64Array.from(evidence.subarray(b * g.d * 5, (b + 1) * g.d * 5));
        const one = E.infer(g, row, { classPrior: prior });
        far = Math.max(far, Math.abs(one.logEvidence[0] / all.logEvidence[b] - 1));
        for (const kind of ["up", "down", "marginals"]) all.rows(kind, b).forEach((nodes, l) =>
          nodes.forEach((p, i) => p.forEach((a, y) => compare(a, one[kind][l][i * p.length + y]))));
        one.marginals[3].forEach((p, y) => compare(p, classes[b * 4 + y]));
      }
      return [far, all.chunks.length, E.infer(g, evidence, { messages: false }).up];"""
    far, chunks, up = engine(script)
    assert far < 1e-5 and chunks == 3 and up is None


# A grammar of one class whose two leaves are told as 0 and 1, or 1 and 0, in small print; and numbers of all sizes.
NARROW = """
  const g = new E.Grammar({ v: 2, m: 2, s: 2, L: 1, numClasses: 1, rules: [[[[0, 1], [1, 0]]]] });
  const infer = (numbers) => {
    const b = E.infer(g, Float32Array.from(numbers));
    return [b.marginals[0].constructor.name, [...b.marginals[0]], b.logEvidence[0]];
  };"""


def test_what_leaves_the_range_of_float32_is_done_again(engine):
    script = f"""{NARROW}
      return [[1, 1e-36, 1, 2e-36], [3e38, 1e38, 1e38, 3e38], [0, 1e-38, 1e-38, 0], [1, 0.5, 1, 1]].map(infer);"""
    small, huge, tiny, plain = engine(script)
    assert small[0] == huge[0] == tiny[0] == "Float64Array" and plain[0] == "Float32Array"
    assert small[1] == pytest.approx([2 / 3, 1 / 3, 1 / 3, 2 / 3], abs=1e-6)
    assert small[2] == pytest.approx(math.log(1.5e-36), rel=1e-6)
    assert huge[1] == pytest.approx([0.9, 0.1, 0.1, 0.9], abs=1e-6) and tiny[1] == pytest.approx([0, 1, 1, 0], abs=1e-6)


def test_numbers_below_the_floor_count_where_they_matter(engine):
    script = f"{NARROW} return infer([1, 1.2e-19, 1, 1e-19]);"  # one above the floor, one below
    kind, leaves, log_evidence = engine(script)
    assert kind == "Float32Array" and leaves == pytest.approx([1 / 2.2, 1.2 / 2.2, 1.2 / 2.2, 1 / 2.2], abs=1e-6)
    assert log_evidence == pytest.approx(math.log(1.1e-19), rel=1e-6)


@pytest.mark.parametrize("s, L, t", [(2, 8, 0.01), (2, 8, 0.02), (3, 5, 0.02), (4, 4, 0.04)])
def test_no_message_has_numbers_that_are_slow_to_multiply(engine, s, L, t):
    script = """
      const generator = new E.Generator(6), g = E.randomGrammar({ v: 16, m: 8, s: data.s, L: data.L, generator });
      const x = E.sample(g, 1, { generator }), noise = new E.GaussianNoise(16);
      const evidence = noise.evidence(noise.corrupt(x[0], data.t, { generator }), data.t);
      const [b, exact] = [evidence, Float64Array.from(evidence)].map((told) => E.infer(g, told));
      const messages = [...b.up.slice(1), ...b.down].flatMap((row) => [...row]);
      const far = b.marginals.flatMap((row, l) => [...row].map((p, i) => Math.abs(p - exact.marginals[l][i])));
      const slow = messages.filter((p) => p > 0 && p < 2 ** -63).length;
      return [slow, evidence.some((p) => p > 0 && p < 1e-9), Math.max(...far), b.marginals[0].constructor.name];"""
    slow, sharp, far, kind = engine(script, {"s": s, "L": L, "t": t})
    assert slow == 0 and sharp and far < 1e-6 and kind == "Float32Array"


def test_without_the_instructions_all_is_done_in_float64(browser, tmp_path):
    script = f"""WebAssembly.validate = () => false; {NARROW}
      return infer([0.5, 0.25, 0.1, 0.9]);"""
    for run in opened(browser.new_page(), tmp_path):
        kind, leaves, _ = run(script)
    assert kind == "Float64Array" and leaves[0] == pytest.approx(0.45 / 0.475, abs=1e-6)


BAD = {
    "randomGrammar({ v: 1, m: 1, s: 2, L: 2, generator })": "v: expected at least 2, got 1",
    "randomGrammar({ v: 4, m: 5, s: 2, L: 2, generator })": "m: expected m ≤ v^(s-1) = 4 rules per symbol, got 5",
    "randomGrammar({ v: 4, m: 1.5, s: 2, L: 2, generator })": "m: expected a whole number, got 1.5",
    "randomGrammar({ v: 4, m: NaN, s: 2, L: 2, generator })": "m: expected a whole number, got NaN",
    "randomGrammar({ v: '4', m: 2, s: 2, L: 2, generator })": 'v: expected a whole number, got "4"',
    "randomGrammar({ v: 65, m: 2, s: 2, L: 2, generator })": "v: expected at most 64, got 65",
    "randomGrammar({ v: 64, m: 2, s: 2, L: 12, generator })": "s^L·v, a datum, got 2^12·64 = 262144; lower L",
    "randomGrammar({ v: 4, m: 4, s: 2, L: 2, numClasses: 5, generator })": "numClasses·m ≤ v^s = 16",
    "randomGrammar({ v: 4, m: 2, s: 2, L: 2, generator: 3 })": "generator: expected an Engine.Generator",
    "Generator(-1)": "seed: expected at least 0, got -1",
    "Generator(2 ** 32)": "seed: expected at most 4294967295",
    "Grammar({ ...g, rules: g.rules.slice(1) })": "rules: expected one table a level, L = 3, got 2",
    "Grammar({ ...g, rules: g.rules.map((r) => r.slice(1)) })": "rules[0]: expected 4·2·2 symbols, got 15",
    "Grammar({ ...g, rules: g.rules.map((r) => [...r].map(() => 1)) })": "a datum must have only one parse",
    "Grammar({ ...g, rules: g.rules.map((r) => [...r].fill(4, 0, 1)) })": "rules[0]: expected symbols in 0…3, got 4",
    "zipf(4, Infinity)": "a: expected a finite number, got Infinity",
    "zipf(0, 1)": "m: expected at least 1, got 0",
    "randomGrammar({ v: 4, m: 2, s: 2, L: 2, weights: [0.5, 0.6], generator })": "weights[0]: expected probabilities",
    "randomGrammar({ v: 4, m: 2, s: 2, L: 2, weights: [1.5, -0.5], generator })": "expected a number in [0, 1",
    "randomGrammar({ v: 4, m: 2, s: 2, L: 2, weights: [1], generator })": "expected 2 probabilities, or 4·2",
    "randomGrammar({ v: 4, m: 2, s: 2, L: 2, weights: 0.5, generator })": "weights: expected 2 numbers, or one table a",
    "Grammar({ ...g, weights: [[1, 0]] })": "weights: expected 2 numbers, or one table a level, L = 3, got Array of 1",
    "population.poolOfBeliefs([1], { v: 4, s: 2, L: 2, generator })(2)": "eps: expected a number in [0, 1], got 2",
    "sample(g, 0, { generator })": "n: expected at least 1, got 0",
    "sample(g, 2, { generator, classes: [1, 4] })": "classes: expected at most 3, got 4",
    "parse(g, absent)": "leaves: expected strings of this grammar, got datum 0",
    "parse(g, [1, 2])": "leaves: expected a multiple of s^L = 8 symbols",
    "infer(g, flat.slice(1))": "evidence: expected a multiple of s^L·v = 8·4 numbers, got Array of 31",
    "infer({}, flat)": "g: expected an Engine.Grammar, got Object",
    "infer(g, flat.map(() => -1))": "expected finite non-negative numbers; datum 0 has others",
    "infer(g, [...flat, ...flat.fill(NaN, 3, 4)])": "expected finite non-negative numbers; datum 1 has others",
    "infer(g, flat.fill(0, 4, 8))": "datum 0 is impossible",
    "infer(g, Float32Array.from(flat).fill(0, 4, 8))": "datum 0 is impossible",
    "infer(g, Float32Array.from(flat).fill(-1, 4, 5))": "expected finite non-negative numbers; datum 0 has others",
    "infer(g, new Float32Array(33))": "evidence: expected a multiple of s^L·v = 8·4 numbers, got Float32Array of 33",
    "GaussianNoise(4, { dtype: 'float16' })": 'dtype: expected "float32" or "float64", got "float16"',
    "infer(g, E.epsilonEvidence(absent, { eps: 0, v: 4 }))": "datum 0 is impossible",
    "classPosterior(g, E.epsilonEvidence(absent, { eps: 0, v: 4 }))": "datum 0 is impossible",
    "posteriorSample(g, E.epsilonEvidence(absent, { eps: 0, v: 4 }), { generator })": "datum 0 is impossible",
    "infer(g, flat, { classPrior: [0, 0, 0, 0] })": "classPrior: expected finite non-negative numbers, not all zero",
    "infer(g, flat, { classPrior: [1, 2] })": "classPrior: expected 4 numbers, or as many a datum, got Array of 2",
    "posteriorSample(g, flat, { generator, numSamples: 0.5 })": "numSamples: expected a whole number, got 0.5",
    "epsilonEvidence([0, 4], { eps: 0.1, v: 4 })": "x0: expected symbols in 0…3, got 4",
    "epsilonEvidence([0, 1], { eps: 1.1, v: 4 })": "eps: expected a number in [0, 1], got 1.1",
    "MaskNoise(4).corrupt([0, 1], NaN, { generator })": "t: expected a number in [0, 1], got NaN",
    "UniformNoise(4).evidence([0, 1], 2)": "t: expected a number in [0, 1], got 2",
    "GaussianNoise(4).corrupt([0, 1], -1, { generator })": "t: expected a time t ≥ 0",
    "GaussianNoise(4).evidence([0, 1, 0, 0], 0)": "t: expected ᾱ_t < 1",
    "GaussianNoise(4).evidence([0, 1, 0, Infinity], 1)": "x_t: expected finite numbers",
    "overlap(E.infer(g, flat), [[1]])": "x: expected 4 levels, leaves first, got 1",
    "overlap(E.infer(g, flat), [Array(8).fill(1), [1, 1, 1, 1], [1, 1], [7]])": "x[3]: expected symbols in 0…3, got 7",
    "overlap(E.infer(g, flat), [Array(8).fill(1), [1, 1, 1], [1, 1], [1]])": "x[1]: expected 1·4 symbols, got Array",
    "posteriorSample(g, flat, { generator, first: [flat] })": "first: expected 4 levels, leaves first, got 1",
    "meanfield.solve(0.5, 32, 0.5, 2, 10)": "m: expected 1 ≤ m ≤ v^(s-1) = 32 rules per symbol, got 0.5",
    "meanfield.solve(1.5, 32, 8, 2, 10)": "eps: expected a number in [0, 1], got 1.5",
    "meanfield.solve(0.5, 32, 8, 2, 0)": "L: expected at least 1, got 0",
}


def test_bad_input_is_refused_in_a_sentence(engine):
    script = """
      const generator = new E.Generator(0), g = E.randomGrammar({ v: 4, m: 2, s: 2, L: 3, generator });
      const legal = (x) => { try { E.parse(g, x); return true; } catch { return false; } };
      let absent = new Int32Array(8);
      while (legal(absent)) absent = absent.map(() => generator.below(4));
      return data.map((words) => {
        const flat = Array(32).fill(1);
        const call = `E.${words}`.replace(/^E.([A-Z])/, "new E.$1");
        const run = new Function("E", "g", "generator", "flat", "absent", call);
        try { run(E, g, generator, flat, absent); return "nothing"; } catch (error) { return error.message; }
      });"""
    got = dict(zip(BAD, engine(script, list(BAD)), strict=True))
    assert {call: said for call, said in got.items() if BAD[call] not in said} == {}


LARGE = [(64, 64, 2, 11), (32, 8, 2, 12), (6, 36, 3, 9), (32, 100, 4, 6), (64, 2000, 4, 2)]


@pytest.mark.parametrize("v, m, s, L", LARGE)
def test_the_largest_trees(engine, v, m, s, L):
    script = """
      const generator = new E.Generator(1), g = E.randomGrammar({ ...data, generator });
      const x = E.sample(g, 1, { generator });
      const noise = new E.GaussianNoise(g.v), evidence = noise.evidence(noise.corrupt(x[0], 0.05, { generator }), 0.05);
      const b = E.infer(g, evidence);
      return [[...E.overlap(b, x)], b.logEvidence[0]];"""
    overlap, log_evidence = engine(script, {"v": v, "m": m, "s": s, "L": L})
    assert all(0 <= p <= 1 + 1e-12 for p in overlap) and overlap[0] > 0.5 and math.isfinite(log_evidence)


def test_every_part_is_listed():
    assert sorted(PARTS) == sorted((PARTS[0].parent).glob("*.js"))
    said = PARTS[0].read_text("utf-8").split("globalThis")[0]
    assert [part.name for part in PARTS if f"//   {part.name} " not in said] == []
    assert b.ROOT in PARTS[0].parents
