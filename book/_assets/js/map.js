// One point (m, ε) in three pictures: the phase diagram, the staircase on the map F, and the levels of the tree, eq. (62).
// Data: {v, m, s, eps, L}, where the sliders stand at first, and colours, eleven from the leaves to the class.
Live.figure(
  "map",
  (stage, first) => {
    const { upwardMap: F, m_KS, m_c, fixedPoints, criticalNoise, phase, solve } = Engine.meanfield;
    const make = (parent, tag, attributes = {}, words = "") => {
      const el = document.createElementNS("http://www.w3.org/2000/svg", tag);
      for (const [key, value] of Object.entries(attributes)) el.setAttribute(key, value);
      if (words !== "") el.textContent = words;
      return parent.appendChild(el);
    };
    const svg = make(stage, "svg", { role: "group", "aria-label": "Phase diagram, map and levels" });
    svg.style.cssText = "overflow:visible;font:13px var(--hier-sans)";
    const picture = make(svg, "g");
    // The point stays the same element, so that it keeps the focus and the finger that is on it.
    const point = make(svg, "g", { role: "slider", tabindex: 0, "aria-valuemin": 0, "aria-valuemax": 1,
      "aria-label": "Point of the phase diagram: arrow keys left and right change m, up and down the noise" }); // prettier-ignore
    point.style.cursor = "grab";
    make(point, "circle", { r: 22, fill: "transparent" });
    const dot = make(point, "circle", { r: 8, fill: "var(--hier-changed)", stroke: "var(--hier-paper)", "stroke-width": 2 });
    // A finger on the point drags it and scrolls nothing; touch-action is not heeded inside of an SVG.
    point.addEventListener("touchstart", (event) => event.preventDefault(), { passive: false });
    point.addEventListener("focus", () => dot.setAttribute("stroke", "var(--hier-link)"));
    point.addEventListener("blur", () => dot.setAttribute("stroke", "var(--hier-paper)"));
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
    said.className = "map-said";
    stage.append(controls, said);
    const inputs = Object.fromEntries([...controls.querySelectorAll("input")].map((el) => [el.name, el]));
    const value = (name) => +inputs[name].value;
    let areas = []; // of the phase diagram and of the levels: where they are, and what a place in them means

    // The slider of m runs to 2 m_c, or to all tuples.
    function limits(v, s) {
      const top = Math.min(v ** (s - 1), Math.ceil(2 * m_c(v, s)));
      inputs.m.max = top;
      return top;
    }

    function axes({ left, top, wide, high }, xWords, yWords, xTop, xTicks) {
      const x = (t) => left + (t / xTop) * wide;
      const y = (t) => top + (1 - t) * high;
      make(picture, "path", { d: `M${left} ${top}v${high}h${wide}`, fill: "none", stroke: "currentColor" });
      for (const t of [0, 0.5, 1])
        make(picture, "text", { x: left - 6, y: y(t) + 4, "text-anchor": "end", fill: "currentColor" }, t);
      for (const t of xTicks)
        make(picture, "text", { x: x(t), y: top + high + 17, "text-anchor": "middle", fill: "currentColor" }, +t.toPrecision(3));
      const middle = { "text-anchor": "middle", fill: "currentColor" };
      make(picture, "text", { x: left + wide / 2, y: top + high + 36, ...middle }, xWords);
      make(picture, "text", { transform: `translate(${left - 30} ${top + high / 2}) rotate(-90)`, ...middle }, yWords);
      return [x, y];
    }

    function phases(area, { v, s, m, eps, top }) {
      const [x, y] = axes(area, "rules per symbol m", "noise ε", top, [1, Math.min(m_c(v, s), top), top]);
      const line = Array.from({ length: 121 }, (_, i) => 1 + ((top - 1) * i) / 120);
      const edge = line.map((k) => `L${x(k).toFixed(1)} ${y(criticalNoise(v, k, s)).toFixed(1)}`).join("");
      make(picture, "path", { d: `M${x(1)} ${y(0)}${edge}L${x(top)} ${y(0)}Z`, fill: "var(--hier-class)", opacity: 0.16 });
      make(picture, "path", { d: `M${edge.slice(1)}`, fill: "none", stroke: "var(--hier-class)", "stroke-width": 2 });
      make(picture, "path", { d: `M${x(m)} ${y(0)}V${y(1)}`, stroke: "currentColor", "stroke-opacity": 0.6,
        "stroke-dasharray": "3 3" }); // prettier-ignore
      make(picture, "text", { x: x(1) + 10, y: y(0.06), fill: "currentColor", "paint-order": "stroke",
        stroke: "var(--hier-paper)", "stroke-width": 5 }, "class kept"); // prettier-ignore
      make(picture, "text", { x: x(top) - 6, y: y(0.92), "text-anchor": "end", fill: "currentColor" }, "class lost");
      point.setAttribute("transform", `translate(${x(m)} ${y(eps)})`);
      areas.push({ ...area, m: (share) => Math.max(1, Math.min(top, Math.round(share * top))), eps: (_, height) => height });
    }

    function staircase(area, { v, s, m, now, third }, p) {
      const [x, y] = axes(area, "belief p at a level", "belief p′ one level up", 1, [0, 0.5, 1]);
      const curve = Array.from({ length: 201 }, (_, i) => i / 200);
      make(picture, "path", { d: `M${x(0)} ${y(0)}L${x(1)} ${y(1)}`, stroke: "currentColor", "stroke-dasharray": "1 4" });
      make(picture, "path", { d: curve.map((p, i) => `${i ? "L" : "M"}${x(p)} ${y(F(p, v, m, s)).toFixed(2)}`).join(""),
        fill: "none", stroke: "currentColor", "stroke-width": 2 }); // prettier-ignore
      const steps = p.slice(1).map((next, l) => `L${x(p[l])} ${y(next)}L${x(next)} ${y(next)}`);
      make(picture, "path", { d: `M${x(p[0])} ${y(0)}${steps.join("")}`, fill: "none", stroke: "var(--hier-changed)",
        "stroke-width": 1.4 }); // prettier-ignore
      const points = [[1 / v, now !== "always"], [1, now !== "never"]];
      if (now === "below") points.push([third, false]);
      for (const [t, stable] of points)
        make(picture, "circle", { cx: x(t), cy: y(t), r: 5, fill: stable ? "currentColor" : "var(--hier-paper)",
          stroke: "currentColor", "stroke-width": 1.5 }); // prettier-ignore
    }

    // What the whole tree says of each level, along the dashed line of the phase diagram.
    function levels(area, { v, s, m, eps, L, noise }, P) {
      const [x, y] = axes(area, "noise ε, at this m", "belief in the truth", 1, [0, 0.5, 1]);
      const ends = [["class", first.colours[10]], ["leaves", first.colours[0]]];
      make(picture, "g").innerHTML = Live.legend(ends, area.top - 4, { right: area.left + area.wide });
      const grid = Array.from({ length: 101 }, (_, i) => i / 100);
      for (let k = -20; k <= 20; k++) grid.push(Math.min(1, Math.max(0, noise + 0.003 * k)));
      grid.sort((a, b) => a - b);
      const all = grid.map((e) => solve(e, v, m, s, L).P);
      const colour = (l) => first.colours[Math.round((10 * l) / L)];
      for (let l = 0; l <= L; l++)
        make(picture, "polyline", { points: grid.map((e, i) => `${x(e).toFixed(1)},${y(all[i][l]).toFixed(1)}`).join(" "),
          fill: "none", stroke: colour(l), "stroke-width": 1.2 + (1.2 * l) / L }); // prettier-ignore
      make(picture, "path", { d: `M${x(eps)} ${y(0)}V${y(1)}`, stroke: "currentColor", "stroke-opacity": 0.6,
        "stroke-dasharray": "3 3" }); // prettier-ignore
      for (const l of [0, L]) make(picture, "circle", { cx: x(eps), cy: y(P[l]), r: 5, fill: colour(l) });
      areas.push({ ...area, m: () => m, eps: (share) => share });
    }

    function redraw() {
      const [v, s, eps, L] = ["v", "s", "eps", "L"].map(value);
      const top = limits(v, s);
      const m = value("m");
      for (const [name] of ranges) inputs[name].previousElementSibling.value = name === "eps" ? eps.toFixed(3) : value(name);
      const width = Math.max(stage.clientWidth, 240);
      const wide = width >= 520;
      const side = wide ? Math.min((width - 112) / 2, 320) : width - 60;
      const high = wide ? Math.min(side, 290) : 0.72 * side;
      const low = wide ? 170 : 0.55 * side;
      const second = wide ? [width - side - 6, 12] : [44, high + 70];
      const third = 70 + high + (wide ? 0 : 58 + high);
      const noise = criticalNoise(v, m, s);
      const at = { v, s, m, eps, L, top, noise, now: phase(v, m, s), third: fixedPoints(v, m, s)[1] };
      const { p, P } = solve(eps, v, m, s, L);
      picture.replaceChildren();
      areas = [];
      phases({ left: 44, top: 12, wide: side, high }, at);
      staircase({ left: second[0], top: second[1], wide: side, high }, at, p);
      levels({ left: 44, top: third, wide: width - (wide ? 50 : 60), high: low }, at, P);
      svg.setAttribute("viewBox", `0 0 ${width} ${third + low + 44}`);

      const ending = L > 1 ? "s" : "";
      const words =
        { always: "So few rules that the class of a deep tree is kept at every noise below 1.",
          never: "So many rules that a deep tree loses its class at any noise.",
          below: `A deep tree keeps its class below ε* = ${noise.toFixed(3)}, where p* = ${at.third.toFixed(3)}.` }[at.now] +
        ` From ${p[0].toFixed(3)} at the leaves the belief goes to ${p[L].toFixed(3)} after ${L} level${ending};` +
        ` from there down again, the leaves have ${P[0].toFixed(3)}.`; // prettier-ignore
      said.textContent = words;
      point.setAttribute("aria-valuenow", eps);
      point.setAttribute("aria-valuetext", `m = ${m}, ε = ${eps.toFixed(3)}`);
      svg.setAttribute("aria-label", `v = ${v}, m = ${m}, s = ${s}, ε = ${eps}. ${words}`);
    }

    // Moves the point to where the pointer is; returns in which picture that was, -1 in none that means a point.
    function place(event, which = null) {
      const box = svg.getBoundingClientRect();
      const scale = svg.viewBox.baseVal.width / box.width;
      const [px, py] = [(event.clientX - box.left) * scale, (event.clientY - box.top) * scale];
      which ??= areas.findIndex(({ left, top, wide, high }) =>
        px > left - 12 && px < left + wide + 12 && py > top - 12 && py < top + high + 12); // prettier-ignore
      if (which < 0) return which;
      const area = areas[which];
      const [share, height] = [(px - area.left) / area.wide, 1 - (py - area.top) / area.high];
      inputs.m.value = area.m(share);
      inputs.eps.value = Math.max(0, Math.min(1, area.eps(share, height)));
      redraw();
      return which;
    }

    // A mouse drags everywhere. A finger drags the point, and taps elsewhere: there, moving is scrolling.
    let dragged = -1; // in which picture
    svg.addEventListener("pointerdown", (event) => {
      const onPoint = point.contains(event.target);
      dragged = onPoint ? 0 : event.pointerType === "mouse" ? place(event) : -1;
      if (dragged >= 0) svg.setPointerCapture(event.pointerId);
    });
    svg.addEventListener("pointermove", (event) => {
      if (svg.hasPointerCapture(event.pointerId)) place(event, dragged);
    });
    svg.addEventListener("click", (event) => {
      if (dragged < 0) place(event);
    });

    point.addEventListener("keydown", (event) => {
      const step = { ArrowLeft: ["m", -1], ArrowRight: ["m", 1], ArrowUp: ["eps", 0.005], ArrowDown: ["eps", -0.005],
        PageUp: ["eps", 0.05], PageDown: ["eps", -0.05] }[event.key]; // prettier-ignore
      if (!step) return;
      event.preventDefault();
      inputs[step[0]].value = value(step[0]) + step[1];
      redraw();
    });
    controls.addEventListener("input", redraw);
    redraw();
    return redraw;
  },
  ["engine/engine", "engine/meanfield"],
);
