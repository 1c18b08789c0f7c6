// The upward map and its fixed points: a point (m, ε) of the phase diagram, and the staircase that starts from it.
// Data: {v, m, s, eps, L}: where the sliders stand at first.
const UpwardMap = (() => {
  const F = (p, v, m, s) => {
    const n = v ** s - 1;
    const q = p ** s;
    return (q + ((m - 1) / n) * (1 - q)) / (q + ((m * v - 1) / n) * (1 - q));
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
  const staircase = (eps, v, m, s, L) => {
    const p = [1 - eps + eps / v];
    while (p.length <= L) p.push(F(p[p.length - 1], v, m, s));
    return p;
  };
  return { F, mKS, mC, star, criticalNoise, phase, staircase };
})();
if (typeof module !== "undefined") module.exports = UpwardMap;

if (typeof Live !== "undefined")
  Live.figure("map", (stage, first) => {
    const { F, mKS, mC, star, criticalNoise, phase, staircase } = UpwardMap;
    const make = (parent, tag, attributes = {}, words = "") => {
      const el = document.createElementNS("http://www.w3.org/2000/svg", tag);
      for (const [key, value] of Object.entries(attributes)) el.setAttribute(key, value);
      if (words !== "") el.textContent = words;
      return parent.appendChild(el);
    };
    const svg = make(stage, "svg", { role: "img" });
    svg.style.cssText = "overflow:visible;font:13px var(--hier-sans)";
    const controls = document.createElement("div");
    controls.className = "live-controls";
    const ranges = [
      ["eps", "noise of the leaves, ε", 0, 1, 0.005],
      ["m", "rules per symbol, m", 1, 32, 1],
      ["v", "alphabet, v", 2, 64, 1],
      ["s", "children, s", 2, 5, 1],
      ["L", "levels, L", 1, 60, 1],
    ];
    controls.innerHTML = ranges
      .map(
        ([name, words, min, max, step]) =>
          `<label class="live-range"><span>${words}</span><output></output>
           <input type="range" name="${name}" min="${min}" max="${max}" step="${step}" value="${first[name]}"></label>`,
      )
      .join("");
    const said = document.createElement("p");
    said.setAttribute("role", "status");
    said.style.cssText = "margin:.5rem 0 0;min-height:3em";
    stage.append(controls, said);
    const inputs = Object.fromEntries([...controls.querySelectorAll("input")].map((el) => [el.name, el]));
    const value = (name) => +inputs[name].value;
    let plane = null; // from pixels of the phase diagram to (m, ε)

    // The slider of m runs to 2 m_c, or to all tuples.
    function limits(v, s) {
      const top = Math.min(v ** (s - 1), Math.ceil(2 * mC(v, s)));
      inputs.m.max = top;
      return top;
    }

    function axes(left, top, side, xWords, yWords, xTop, xTicks) {
      const x = (t) => left + (t / xTop) * side;
      const y = (t) => top + (1 - t) * side;
      make(svg, "path", { d: `M${left} ${top}v${side}h${side}`, fill: "none", stroke: "currentColor" });
      for (const t of [0, 0.5, 1])
        make(svg, "text", { x: left - 6, y: y(t) + 4, "text-anchor": "end", fill: "currentColor" }, t);
      for (const t of xTicks)
        make(svg, "text", { x: x(t), y: top + side + 17, "text-anchor": "middle", fill: "currentColor" }, +t.toPrecision(3));
      make(svg, "text", { x: left + side / 2, y: top + side + 36, "text-anchor": "middle", fill: "currentColor" }, xWords);
      make(svg, "text", { transform: `translate(${left - 30} ${top + side / 2}) rotate(-90)`, "text-anchor": "middle",
        fill: "currentColor" }, yWords); // prettier-ignore
      return [x, y];
    }

    function redraw() {
      const [v, s, eps, L] = ["v", "s", "eps", "L"].map(value);
      const top = limits(v, s);
      const m = value("m");
      for (const [name] of ranges) controls.querySelector(`[name=${name}]`).previousElementSibling.value =
        name === "eps" ? eps.toFixed(3) : value(name); // prettier-ignore
      const width = Math.max(stage.clientWidth, 240);
      const wide = width >= 520;
      const side = wide ? Math.min((width - 108) / 2, 340) : width - 60;
      svg.setAttribute("viewBox", `0 0 ${width} ${wide ? side + 58 : 2 * side + 126}`);
      svg.replaceChildren();

      // The phase diagram.
      let [x, y] = axes(44, 12, side, "rules per symbol m", "noise ε", top, [1, Math.min(mC(v, s), top), top]);
      const line = Array.from({ length: 121 }, (_, i) => 1 + ((top - 1) * i) / 120);
      const edge = line.map((k) => `L${x(k).toFixed(1)} ${y(criticalNoise(v, k, s)).toFixed(1)}`).join("");
      make(svg, "path", { d: `M${x(1)} ${y(0)}${edge}L${x(top)} ${y(0)}Z`, fill: "var(--hier-class)", opacity: 0.16 });
      make(svg, "path", { d: `M${edge.slice(1)}`, fill: "none", stroke: "var(--hier-class)", "stroke-width": 2 });
      make(svg, "text", { x: x(1) + 10, y: y(0.06), fill: "currentColor" }, "class kept");
      make(svg, "text", { x: x(top) - 6, y: y(0.92), "text-anchor": "end", fill: "currentColor" }, "class lost");
      const dot = make(svg, "circle", { cx: x(m), cy: y(eps), r: 8, fill: "var(--hier-changed)",
        stroke: "var(--hier-paper)", "stroke-width": 2 }); // prettier-ignore
      dot.style.cursor = "grab";
      plane = { left: 44, top: 12, side, mTop: top };

      // The staircase.
      const at = wide ? [44 + side + 62, 12] : [44, side + 80];
      [x, y] = axes(...at, side, "belief p at a level", "belief p′ one level up", 1, [0, 0.5, 1]);
      const curve = Array.from({ length: 201 }, (_, i) => i / 200);
      make(svg, "path", { d: `M${x(0)} ${y(0)}L${x(1)} ${y(1)}`, stroke: "currentColor", "stroke-dasharray": "1 4" });
      make(svg, "path", { d: curve.map((p, i) => `${i ? "L" : "M"}${x(p)} ${y(F(p, v, m, s)).toFixed(2)}`).join(""),
        fill: "none", stroke: "currentColor", "stroke-width": 2 }); // prettier-ignore
      const p = staircase(eps, v, m, s, L);
      make(svg, "path", {
        d: `M${x(p[0])} ${y(0)}` + p.slice(1).map((next, l) => `L${x(p[l])} ${y(next)}L${x(next)} ${y(next)}`).join(""),
        fill: "none", stroke: "var(--hier-changed)", "stroke-width": 1.4,
      }); // prettier-ignore
      const third = star(v, m, s);
      const now = phase(v, m, s);
      const points = [[1 / v, now !== "always"], [1, now !== "never"]];
      if (now === "below") points.push([third, false]);
      for (const [t, stable] of points)
        make(svg, "circle", { cx: x(t), cy: y(t), r: 5, fill: stable ? "currentColor" : "var(--hier-paper)",
          stroke: "currentColor", "stroke-width": 1.5 }); // prettier-ignore

      const noise = criticalNoise(v, m, s);
      const words =
        { always: "So few rules that the class of a deep tree is kept at every noise below 1.",
          never: "So many rules that a deep tree loses its class at any noise.",
          below: `A deep tree keeps its class below ε* = ${noise.toFixed(3)}, where p* = ${third.toFixed(3)}.` }[now] +
        ` From ${p[0].toFixed(3)} at the leaves the belief goes to ${p[L].toFixed(3)} after ${L} level${L > 1 ? "s" : ""}.`; // prettier-ignore
      said.textContent = words;
      svg.setAttribute("aria-label", `v = ${v}, m = ${m}, s = ${s}, ε = ${eps}. ${words}`);
    }

    function drag(event) {
      const box = svg.getBoundingClientRect();
      const scale = svg.viewBox.baseVal.width / box.width;
      const [px, py] = [(event.clientX - box.left) * scale, (event.clientY - box.top) * scale];
      const { left, top, side, mTop } = plane;
      if (!(px > left - 12 && px < left + side + 12 && py > top - 12 && py < top + side + 12)) return false;
      inputs.m.value = Math.max(1, Math.min(mTop, Math.round(((px - left) / side) * mTop)));
      inputs.eps.value = Math.max(0, Math.min(1, 1 - (py - top) / side));
      redraw();
      return true;
    }
    svg.addEventListener("pointerdown", (event) => {
      if (drag(event)) svg.setPointerCapture(event.pointerId);
    });
    svg.addEventListener("pointermove", (event) => {
      if (svg.hasPointerCapture(event.pointerId)) drag(event);
    });
    controls.addEventListener("input", redraw);
    redraw();
    return redraw;
  });
