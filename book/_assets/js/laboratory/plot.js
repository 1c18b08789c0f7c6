// The laboratory's curves as SVG: levels with the bands of class and leaves, theory where there is one, and marks.
(() => {
  const TALL = 222; // of the axes, in pixels
  const TOP = 44;
  const OUTER = TOP + TALL + 44;

  function ticksOf(log) {
    return log ? [0.01, 0.03, 0.1, 0.3, 1, 3] : [0, 0.2, 0.4, 0.6, 0.8, 1];
  }

  // found: as of Laboratory.results, or its summary before there are marks; theory: {t, top, leaves, star, words} or
  // null; it may know nothing of the leaves.
  function picture({ width, found, colours, log, axis, theory }) {
    const [left, right] = [40, 10];
    const inner = width - left - right;
    const { t } = found;
    const [low, high] = log ? [t[0], t.at(-1)].map(Math.log) : [t[0], t.at(-1)];
    const x = (z) => (left + (((log ? Math.log(z) : z) - low) / (high - low)) * inner).toFixed(1);
    const y = (p) => (TOP + (1 - Math.min(1, Math.max(0, p))) * TALL).toFixed(1);
    const line = (ts, ys) => ts.map((z, k) => `${x(z)},${y(ys[k])}`).join(" ");
    const L = colours.length - 1;
    let out = "";
    for (const p of [0, 0.5, 1]) out += `<text x="${left - 7}" y="${+y(p) + 4}" text-anchor="end">${p}</text>`;
    for (const z of ticksOf(log))
      out += `<path d="M${x(z)} ${TOP + TALL}v4" stroke="currentColor"/><text x="${x(z)}" y="${TOP + TALL + 17}" text-anchor="middle">${z}</text>`;
    out += `<path d="M${left} ${TOP}v${TALL}h${inner}" fill="none" stroke="currentColor"/>`;
    out += `<text x="${left + inner / 2}" y="${OUTER - 8}" text-anchor="middle">${axis}</text>`;
    for (const l of found.n > 1 ? [0, L] : []) {
      const edge = (sign) => found.mean[l].map((p, k) => p + sign * found.half[l][k]);
      const there = line([...t, ...t.toReversed()], [...edge(1), ...edge(-1).toReversed()]);
      out += `<polygon points="${there}" fill="${colours[l]}" opacity="0.22"/>`;
    }
    for (const [l, curve] of found.n ? found.mean.entries() : [])
      out += `<polyline data-level="${l}" points="${line(t, curve)}" fill="none" stroke="${colours[l]}" stroke-width="${1.2 + (1.2 * l) / L}"/>`;
    const names = [["class", colours[L]], ["leaves", colours[0]]]; // prettier-ignore
    if (theory) {
      for (const [curve, colour] of [[theory.top, colours[L]], [theory.leaves, colours[0]]]) // prettier-ignore
        if (curve) out += `<polyline points="${line(theory.t, curve)}" fill="none" stroke="${colour}" stroke-width="1.4" stroke-dasharray="2 4"/>`;
      if (theory.star > 0 && theory.star < 1)
        out += `<path d="M${x(theory.star)} ${TOP + TALL}v-9" stroke="currentColor" stroke-width="2"/><text x="${+x(theory.star) + (theory.star > 0.8 ? -5 : 5)}" y="${TOP + TALL - 5}" text-anchor="${theory.star > 0.8 ? "end" : "start"}">ε*</text>`;
      names.push([theory.words, "currentColor", "2 4"]);
    }
    return (
      `<svg width="${width}" height="${OUTER}" font-size="12" fill="currentColor" aria-hidden="true">` +
      `<text x="2" y="14">probability kept</text>${Live.legend(names, 14, { right: left + inner })}` +
      `${out}${marks(found, { x, y, colours, left, L })}</svg>`
    );
  }

  // Half height ▽, crossing ○, the level that is kept best at the crossing, or at half height, ◆; what they are stands over the axes.
  function marks({ t, mean, top, cross, best, n }, { x, y, colours, left, L }) {
    if (!n || !top) return "";
    let out = "";
    const says = [];
    if (top.value !== null) {
      out += `<path d="M${x(top.value)} ${TOP + TALL}V${TOP}" stroke="currentColor" stroke-dasharray="3 3" opacity="0.6"/>`;
      out += `<path d="M${x(top.value)} ${TOP + 4}l-5 -9h10z" fill="${colours[L]}"/>`;
      if (top.lo !== null) out += `<path d="M${x(top.lo)} ${TOP - 1}H${x(top.hi)}" stroke="${colours[L]}" stroke-width="2"/>`;
      says.push("▽ class half lost");
    }
    if (cross.value !== null) {
      const k = Math.max(1, t.findIndex((z) => z >= cross.value));
      out += `<circle cx="${x(cross.value)}" cy="${y((mean[0][k - 1] + mean[0][k]) / 2)}" r="5" fill="var(--hier-paper)" stroke="currentColor" stroke-width="1.6"/>`;
      says.push("○ class = leaves");
    }
    if (best) {
      out += `<path d="M${x(best.at)} ${y(best.kept)}m0 -6l6 6l-6 6l-6 -6z" fill="${colours[best.level]}" stroke="var(--hier-paper)"/>`;
      says.push(`◆ kept best there: ${best.level ? (best.level === L ? "class" : `level ${best.level}`) : "leaves"}`);
    }
    return `${out}<text x="2" y="31" fill="var(--hier-muted)" font-size="11">${says.join("  ")}</text>`;
  }

  Object.assign((globalThis.Laboratory ??= {}), { picture, TALLEST: OUTER });
})();
