// Examples seen against level learnt: a slider sets the number of training strings, the curves show how much of the rules
// of each level a network then obeys. Data: {P: [K], chance, law: [L], colours: [L], kinds: [{name, kept, lo, hi:
// [L][K], half: [L]}]}; law is v·m^(ℓ+1) of level ℓ, half: with how many strings it is half-way to certainty, or null.
const Learnt = (() => {
  const list = (words) => (words.length < 2 ? words.join("") : `${words.slice(0, -1).join(", ")} and ${words.at(-1)}`);
  const level = (l) => `level ${l + 1}`;
  // Which levels are at least half-way known at stop i, and which should be by the law.
  function known(data, kind, i) {
    const middle = (1 + data.chance) / 2;
    const all = data.law.map((_, l) => l);
    return {
      seen: all.filter((l) => data.kinds[kind].kept[l][i] >= middle),
      law: all.filter((l) => data.law[l] <= data.P[i]),
    };
  }
  function sentence(data, kind, i) {
    const { name, kept, half } = data.kinds[kind];
    const { seen, law } = known(data, kind, i);
    const what = (levels) => (levels.length ? list(levels.map(level)) : "no level");
    const need = half.map((P, l) => `${level(l)} ${P === null ? "never" : `at ${Math.round(P)}`}`);
    return (
      `${data.P[i]} strings, ${name}: a rule allows ${list(kept.map((y, l) => `${y[i].toFixed(2)} of ${level(l)}`))}; ` +
      `by chance ${data.chance.toFixed(2)}. Half-way to certainty or beyond: ${what(seen)}; by the law v·m^(ℓ+1): ${what(law)}. ` +
      `Half-way is reached by ${list(need)}; the law says ${list(data.law.map(String))}.`
    );
  }
  return { known, sentence };
})();
if (typeof module !== "undefined") module.exports = Learnt;

if (typeof Live !== "undefined")
  Live.figure("learnt", (stage, data) => {
    const picture = stage.querySelector(".learnt-picture");
    const slider = stage.querySelector('input[type="range"]');
    const [say, value] = [stage.querySelector(".learnt-said"), stage.querySelector("output")];
    const [HEIGHT, TOP, LEFT, RIGHT] = [210, 62, 44, 16];
    const [lo, hi] = [data.P[0], data.P.at(-1)].map(Math.log);
    const floor = Math.floor(10 * Math.min(data.chance, ...data.kinds.flatMap(({ lo: low }) => low.flat()))) / 10;

    function draw() {
      const width = stage.clientWidth;
      if (!width) return;
      const i = +slider.value;
      const kind = +stage.querySelector("input:checked").value;
      const { kept, lo: low, hi: high } = data.kinds[kind];
      const inner = width - LEFT - RIGHT;
      const x = (P) => LEFT + ((Math.log(P) - lo) / (hi - lo)) * inner;
      const y = (p) => TOP + ((1 - p) / (1 - floor)) * HEIGHT;
      const wide = (l) => 1.6 + l;
      const bars = kept.map((_, l) =>
        data.P.map((P, k) => `<path d="M${x(P) + 3 * (l - 1)} ${y(low[l][k])}V${y(high[l][k])}" stroke="${data.colours[l]}"/>`).join(""),
      );
      const lines = kept.map(
        (curve, l) =>
          `<polyline points="${curve.map((p, k) => `${x(data.P[k]).toFixed(1)},${y(p).toFixed(1)}`).join(" ")}" fill="none" ` +
          `stroke="${data.colours[l]}" stroke-width="${wide(l)}"/>` +
          `<circle cx="${x(data.P[i])}" cy="${y(curve[i])}" r="5" fill="${data.colours[l]}"/>`,
      );
      const law = data.law.map((P, l) =>
        P < data.P[0] || P > data.P.at(-1) ? "" : `<path d="M${x(P)} ${TOP}l-6 -10h12z" fill="${data.colours[l]}"/>`,
      );
      const rungs = [0, 0.2, 0.4, 0.6, 0.8, 1].filter((p) => p >= floor).map(
        (p) => `<text x="${LEFT - 7}" y="${y(p) + 4}" text-anchor="end">${p}</text><path d="M${LEFT - 4} ${y(p)}h4" stroke="currentColor"/>`,
      );
      const ticks = data.P.filter((_, k) => k % (width > 460 ? 2 : 3) === 0).map(
        (P) => `<path d="M${x(P)} ${TOP + HEIGHT}v4" stroke="currentColor"/>` +
          `<text x="${x(P)}" y="${TOP + HEIGHT + 17}" text-anchor="middle">${P}</text>`,
      );
      picture.innerHTML =
        `<svg width="${width}" height="${TOP + HEIGHT + 40}" font-size="12" fill="currentColor" aria-hidden="true">` +
        `<text x="2" y="13">allowed by a rule</text>` +
        Live.legend(kept.map((_, l) => [`level ${l + 1}`, data.colours[l]]), 13, { right: width - 2 }) +
        `<text x="2" y="32" fill="var(--hier-muted)">▼ v·m^(ℓ+1), the law’s number for each level</text>` +
        `<path d="M${LEFT} ${y(data.chance)}h${inner}" stroke="currentColor" stroke-dasharray="2 4"/>` +
        `<text x="${LEFT + inner}" y="${y(data.chance) + 14}" text-anchor="end">chance</text>` +
        `<path d="M${x(data.P[i])} ${TOP}v${HEIGHT}" stroke="currentColor" stroke-dasharray="3 3"/>` +
        bars.join("") + lines.join("") + law.join("") +
        `<path d="M${LEFT} ${TOP}v${HEIGHT}h${inner}" fill="none" stroke="currentColor"/>` +
        `<text x="${LEFT + inner / 2}" y="${TOP + HEIGHT + 34}" text-anchor="middle">training strings P</text>` +
        rungs.join("") + ticks.join("") + "</svg>";
      value.textContent = data.P[i];
      const words = Learnt.sentence(data, kind, i);
      say.textContent = words;
      slider.setAttribute("aria-valuetext", `${data.P[i]} strings`);
    }

    stage.addEventListener("input", draw);
    draw();
    return draw;
  });
