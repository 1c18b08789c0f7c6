// How alike every layer finds start and end of a U-turn, against noise; trained or as it was drawn.
// Data: {eps, names, colours, kept, curves: {trained: [layer][noise], untrained: …}}, start: a stop of the slider,
// axis: [word, symbol] of what the slider changes.
const Layers = (() => {
  const two = (x) => x.toFixed(2).replace("-", "−");
  // Which layer finds the two most alike at stop i, and which the least.
  function extremes(data, weights, i) {
    const now = data.curves[weights].map((curve) => curve[i]);
    return { most: now.indexOf(Math.max(...now)), least: now.indexOf(Math.min(...now)), now };
  }
  function sentence(data, weights, i) {
    const { most, least, now } = extremes(data, weights, i);
    return (
      `${data.axis[0][0].toUpperCase()}${data.axis[0].slice(1)} ${data.axis[1]} = ${data.eps[i]}, ${weights}: most alike in ${data.names[most]} (${two(now[most])}), least in ` +
      `${data.names[least]} (${two(now[least])}). Class kept with probability ${two(data.kept[i])}`
    );
  }
  return { extremes, sentence };
})();
if (typeof module !== "undefined") module.exports = Layers;

if (typeof Live !== "undefined")
  Live.figure("layers", (stage, data) => {
    const picture = stage.querySelector(".layers-picture");
    const slider = stage.querySelector('input[type="range"]');
    const say = stage.querySelector("output");
    const HEIGHT = 224;
    const TOP = 44; // above: what the axis and the lines are
    const [lo, hi] = [data.eps[0], data.eps.at(-1)];
    slider.max = data.eps.length - 1;
    slider.value = data.start;

    function draw() {
      const weights = stage.querySelector("input:checked").value;
      const i = +slider.value;
      const width = stage.clientWidth;
      if (!width) return;
      const left = 44;
      const inner = width - left - 14;
      const x = (e) => left + ((e - lo) / (hi - lo)) * inner;
      const y = (c) => TOP + (1 - c) * HEIGHT;
      const line = (curve) => curve.map((c, j) => `${x(data.eps[j]).toFixed(1)},${y(c).toFixed(1)}`).join(" ");
      const last = data.colours.length - 1;
      const curves = data.curves[weights].map(
        (curve, k) =>
          `<polyline points="${line(curve)}" fill="none" stroke="${data.colours[k]}" ` +
          `stroke-width="${1.2 + (1.2 * k) / last}"/>`,
      );
      const { now } = Layers.extremes(data, weights, i);
      const dots = [0, last].map(
        (k) => `<circle cx="${x(data.eps[i])}" cy="${y(now[k])}" r="4.5" fill="${data.colours[k]}"/>`,
      );
      const rungs = [0, 0.5, 1].map(
        (c) => `<text x="${left - 7}" y="${y(c) + 4}" text-anchor="end">${c}</text>` +
          `<path d="M${left - 4} ${y(c)}h4" stroke="currentColor"/>`,
      );
      const ticks = [0, 0.2, 0.4, 0.6, 0.8, 1].filter((e) => e >= lo && e <= hi).map(
        (e) => `<path d="M${x(e)} ${y(0)}v4" stroke="currentColor"/>` +
          `<text x="${x(e)}" y="${y(0) + 18}" text-anchor="middle">${e}</text>`,
      );
      picture.innerHTML =
        `<svg width="${width}" height="${TOP + HEIGHT + 40}" font-size="12" fill="currentColor" aria-hidden="true">` +
        `<polyline points="${line(data.kept)}" fill="none" stroke="currentColor" stroke-dasharray="2 4"/>` +
        curves.join("") +
        `<path d="M${left} ${TOP}v${HEIGHT}h${inner}" fill="none" stroke="currentColor"/>` +
        `<path d="M${x(data.eps[i])} ${TOP}v${HEIGHT}" stroke="currentColor" stroke-dasharray="3 3"/>` +
        `<text x="${left + inner / 2}" y="${y(0) + 34}" text-anchor="middle">${data.axis.join(" ")}</text>` +
        `<text x="${left}" y="13">how alike start and end are, in</text>` +
        Live.legend(
          [[data.names[0], data.colours[0]], [data.names[last], data.colours[last]], ["class kept", "currentColor", "2 4"]],
          32,
          { left },
        ) +
        dots.join("") + rungs.join("") + ticks.join("") + "</svg>";
      const text = Layers.sentence(data, weights, i);
      say.textContent = text;
      slider.setAttribute("aria-valuetext", text);
    }

    stage.addEventListener("input", draw);
    draw();
    return draw;
  });
