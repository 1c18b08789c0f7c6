// A family of curves, one of them chosen by a slider, with what was measured beside it.
// Data: {x: [T], curves: [K][T], names: [K], say: [K], axes: [x, y], points: {k: [[x, y, lo, hi]]}, start}.
const Family = (() => {
  // Round steps for an axis from 0 or lo to hi: about five of them.
  function ticks(lo, hi, about = 5) {
    const raw = (hi - lo) / about;
    const size = 10 ** Math.floor(Math.log10(raw));
    const step = [1, 2, 5, 10].map((k) => k * size).find((k) => k >= raw);
    const out = [];
    for (let k = Math.ceil(lo / step - 1e-9); k * step <= hi + 1e-9; k++) out.push(+(k * step).toPrecision(6));
    return out;
  }
  return { ticks };
})();
if (typeof module !== "undefined") module.exports = Family;

if (typeof Live !== "undefined")
  Live.figure("family", (stage, data) => {
    const picture = stage.querySelector(".family-picture");
    const slider = stage.querySelector('input[type="range"]');
    const [say, value] = [stage.querySelector(".family-word"), stage.querySelector("output")];
    const HEIGHT = 214;
    const TOP = 44; // above: what the axis and the lines are
    const [left, right] = [44, 14];
    const [lo, hi] = [data.x[0], data.x.at(-1)];
    const measured = Object.values(data.points).flat();
    const top = 1.05 * Math.max(...data.curves.flat(), ...measured.map((row) => row[3]));
    slider.value = data.start;

    function draw() {
      const k = +slider.value;
      const width = stage.clientWidth;
      if (!width) return;
      const inner = width - left - right;
      const x = (a) => left + ((a - lo) / (hi - lo)) * inner;
      const y = (b) => TOP + (1 - b / top) * HEIGHT;
      const line = (curve) => curve.map((b, i) => `${x(data.x[i]).toFixed(1)},${y(b).toFixed(1)}`).join(" ");
      const behind = data.curves.map(
        (curve) => `<polyline points="${line(curve)}" fill="none" stroke="var(--hier-muted)" stroke-opacity="0.45"/>`,
      );
      const dots = (data.points[k] ?? []).map(
        ([a, b, from, to]) =>
          `<path d="M${x(a)} ${y(from)}V${y(to)}" stroke="currentColor"/>` +
          `<circle cx="${x(a)}" cy="${y(b)}" r="3.5" fill="currentColor"/>`,
      );
      const across = Family.ticks(lo, hi, width > 460 ? 6 : 5).map(
        (a) => `<path d="M${x(a)} ${y(0)}v4" stroke="currentColor"/>` +
          `<text x="${x(a)}" y="${y(0) + 18}" text-anchor="middle">${a}</text>`,
      );
      const rungs = Family.ticks(0, top).map(
        (b) => `<text x="${left - 7}" y="${y(b) + 4}" text-anchor="end">${b}</text>` +
          `<path d="M${left - 4} ${y(b)}h4" stroke="currentColor"/>`,
      );
      picture.innerHTML =
        `<svg width="${width}" height="${TOP + HEIGHT + 36}" font-size="12" fill="currentColor" aria-hidden="true">` +
        behind.join("") +
        `<polyline points="${line(data.curves[k])}" fill="none" stroke="var(--hier-class)" stroke-width="2.4"/>` +
        `<path d="M${left} ${TOP}v${HEIGHT}h${inner}" fill="none" stroke="currentColor"/>` +
        `<text x="${left}" y="13">${data.axes[1]}</text>` +
        Live.legend([[data.names[k], "var(--hier-class)"], ["others", "var(--hier-muted)"]], 32, { left }) +
        `<text x="${left + inner / 2}" y="${y(0) + 33}" text-anchor="middle">${data.axes[0]}</text>` +
        dots.join("") + across.join("") + rungs.join("") + "</svg>";
      value.textContent = data.names[k];
      say.textContent = data.say[k];
      slider.setAttribute("aria-valuetext", `${data.names[k]}: ${data.say[k]}`);
    }

    stage.addEventListener("input", draw);
    draw();
    return draw;
  });
