// One point (m, ε) in three pictures: the phase diagram, the staircase on the map F, and the levels of the tree, eq. (62).
// Of uneven rules, a > 0, what one number a level does not tell is the pool of beliefs (js/map-pool.js).
// Data: {v, m, s, eps, L}, where the sliders stand at first, and colours, eleven from the leaves to the class.
Live.figure(
  "map",
  (stage, first) => {
    const { upwardMap: F, m_KS, m_c, fixedPoints, criticalNoise, phase, solve, ruleMap, meanUpwardMap } = Engine.meanfield;
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
      ["a", "exponent of their weights, a", 0, 2, 0.1],
      ["v", "alphabet, v", 2, 64, 1],
      ["s", "children, s", 2, 5, 1],
      ["L", "levels, L", 1, 60, 1],
    ];
    controls.innerHTML = ranges
      .map(
        ([name, words, min, max, step]) =>
          `<label class="live-range"><span>${words}</span><output></output>
           <input type="range" name="${name}" min="${min}" max="${max}" step="${step}" value="${first[name] ?? 0}"></label>`,
      )
      .join("");
    const said = document.createElement("p");
    said.setAttribute("role", "status");
    said.className = "map-said";
    stage.append(controls, said);
    const inputs = Object.fromEntries([...controls.querySelectorAll("input")].map((el) => [el.name, el]));
    const value = (name) => +inputs[name].value;
    const pool = MapPool.create(() => redraw());
    let areas = []; // of the phase diagram and of the levels: where they are, and what a place in them means

    // The slider of m runs to 2 m_c, or to all tuples.
    function limits(v, s, a) {
      const top = Math.min(v ** (s - 1), Math.ceil(2 * m_c(v, s)), a ? MapPool.MOST : Infinity);
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

    function phases(area, { v, s, m, a, eps, top }) {
      const { always, certain } = a ? pool.edges() : {};
      const ticks = a ? apart([1, always, certain, top], top) : [1, Math.min(m_c(v, s), top), top];
      const [x, y] = axes(area, "rules per symbol m", "noise ε", top, ticks);
      const formula = () => Array.from({ length: 121 }, (_, i) => 1 + ((top - 1) * i) / 120).map((k) => [k, criticalNoise(v, k, s)]);
      const line = a ? pool.line() : formula();
      const edge = (some) => some.map(([k, noise]) => `L${x(k).toFixed(1)} ${y(noise).toFixed(1)}`).join("");
      const fill = (some, opacity) => some.length && make(picture, "path", { opacity, fill: "var(--hier-class)",
        d: `M${x(some[0][0])} ${y(0)}${edge(some)}L${x(some[some.length - 1][0])} ${y(0)}Z` }); // prettier-ignore
      fill(a ? line.filter(([k]) => k <= certain) : line, 0.16);
      if (a) fill(line.filter(([k]) => k >= certain), 0.07); // prettier-ignore
      make(picture, "path", { d: `M${edge(line).slice(1)}`, fill: "none", stroke: "var(--hier-class)", "stroke-width": 2 });
      make(picture, "path", { d: `M${x(m)} ${y(0)}V${y(1)}`, stroke: "currentColor", "stroke-opacity": 0.6,
        "stroke-dasharray": "3 3" }); // prettier-ignore
      const lost = line.length ? line[line.length - 1][1] : 0; // from this noise on, with all rules
      make(picture, "text", { x: x(1) + 10, y: y(0.06), fill: "currentColor", "paint-order": "stroke",
        stroke: "var(--hier-paper)", "stroke-width": 5 }, "class kept"); // prettier-ignore
      const right = { x: x(top) - 6, "text-anchor": "end", fill: "currentColor" };
      if (lost < 0.8) make(picture, "text", { ...right, y: y(0.92) }, "class lost");
      if (a && certain < top && lost > 0.2) make(picture, "text", { ...right, y: y(0.06) }, "never certain");
      point.setAttribute("transform", `translate(${x(m)} ${y(eps)})`);
      areas.push({ ...area, m: (share) => Math.max(1, Math.min(top, Math.round(share * top))), eps: (_, height) => height });
    }

    // Of some places of an axis those that are apart from the ones before, and from the last.
    function apart(places, top) {
      const kept = [places.pop()];
      for (const place of places) if (place && kept.every((other) => Math.abs(other - place) > 0.12 * top)) kept.push(place);
      return kept;
    }

    function staircase(area, at, p) {
      const { v, s, m, a } = at;
      const [x, y] = axes(area, "belief p at a level", "belief p′ one level up", 1, [0, 0.5, 1]);
      const curve = Array.from({ length: 201 }, (_, i) => i / 200);
      const drawn = (map, looks) => make(picture, "path", { fill: "none", stroke: "currentColor", ...looks,
        d: curve.map((p, i) => `${i ? "L" : "M"}${x(p)} ${y(map(p)).toFixed(2)}`).join("") }); // prettier-ignore
      make(picture, "path", { d: `M${x(0)} ${y(0)}L${x(1)} ${y(1)}`, stroke: "currentColor", "stroke-dasharray": "1 4" });
      if (a) {
        const weights = Engine.zipf(m, a);
        for (const w of [weights[0], weights[m - 1]]) drawn((p) => ruleMap(p, v, w, s), { "stroke-dasharray": "3 2", opacity: 0.6 });
        const names = [["mean", "currentColor"], ["commonest, rarest rule", "currentColor", "3 2"]];
        make(picture, "g").innerHTML = Live.legend(names, area.top - 6, { right: area.left + area.wide - 10 });
      }
      drawn(a ? meanUpwardMap(v, m, s, a) : (p) => F(p, v, m, s), { "stroke-width": 2 });
      const steps = p.slice(1).map((next, l) => `L${x(p[l])} ${y(next)}L${x(next)} ${y(next)}`);
      make(picture, "path", { d: `M${x(p[0])} ${y(0)}${steps.join("")}`, fill: "none", stroke: "var(--hier-changed)",
        "stroke-width": 1.4 }); // prettier-ignore
      if (a) // where the beliefs of a level differ, the steps leave the curve
        for (const [l, next] of p.slice(1).entries()) make(picture, "circle", { cx: x(p[l]), cy: y(next), r: 2.5, fill: "var(--hier-changed)" });
      for (const [t, stable] of fixed(at))
        make(picture, "circle", { cx: x(t), cy: y(t), r: 5, fill: stable ? "currentColor" : "var(--hier-paper)",
          stroke: "currentColor", "stroke-width": 1.5 }); // prettier-ignore
    }

    // Fixed points, and whether they are stable; of uneven rules chance and certainty, which are there whatever the weights.
    function fixed({ v, m, a, now, third }) {
      if (a) return [[1 / v, m > pool.edges().always], [1, m <= pool.edges().certain]];
      const ends = [[1 / v, now !== "always"], [1, now !== "never"]];
      return now === "below" ? [...ends, [third, false]] : ends;
    }

    // What the whole tree says of each level, along the dashed line of the phase diagram.
    function levels(area, { v, s, m, a, eps, L, noise }, P) {
      const [x, y] = axes(area, "noise ε, at this m", "belief in the truth", 1, [0, 0.5, 1]);
      const ends = [["class", first.colours[10]], ["leaves", first.colours[0]]];
      make(picture, "g").innerHTML = Live.legend(ends, area.top - 4, { right: area.left + area.wide });
      const some = () => {
        const grid = Array.from({ length: 101 }, (_, i) => i / 100);
        for (let k = -20; k <= 20; k++) grid.push(Math.min(1, Math.max(0, noise + 0.003 * k)));
        return grid.sort((a, b) => a - b).map((e) => [e, solve(e, v, m, s, L).P]);
      };
      const cut = a ? pool.cut() : some();
      const colour = (l) => first.colours[Math.round((10 * l) / L)];
      for (let l = 0; l <= L; l++)
        make(picture, "polyline", { points: cut.map(([e, each]) => `${x(e).toFixed(1)},${y(each[l]).toFixed(1)}`).join(" "),
          fill: "none", stroke: colour(l), "stroke-width": 1.2 + (1.2 * l) / L }); // prettier-ignore
      make(picture, "path", { d: `M${x(eps)} ${y(0)}V${y(1)}`, stroke: "currentColor", "stroke-opacity": 0.6,
        "stroke-dasharray": "3 3" }); // prettier-ignore
      for (const l of [0, L]) make(picture, "circle", { cx: x(eps), cy: y(P[l]), r: 5, fill: colour(l) });
      areas.push({ ...area, m: () => m, eps: (share) => share });
    }

    function even({ v, m, s, eps, L }) {
      const { p, P } = solve(eps, v, m, s, L);
      return { up: p, marginal: P };
    }

    const verdict = ({ now, noise, third }) =>
      ({ always: "So few rules that the class of a deep tree is kept at every noise below 1.",
        never: "So many rules that a deep tree loses its class at any noise.",
        below: `A deep tree keeps its class below ε* = ${noise.toFixed(3)}, where p* = ${third.toFixed(3)}.` })[now]; // prettier-ignore

    // The same of uneven rules; what is deep is a tree of so many levels.
    function uneven({ m }) {
      const [bears, { always, certain }, deep] = [pool.bears(m), pool.edges(), `A tree of ${MapPool.DEEP} levels`];
      const doubts = m <= certain ? "small doubts die out, so that deep trees are certain of it" : "small doubts grow, so that no tree is certain of it";
      if (m <= always) return `The rules used most are so few that the class is kept at every noise below 1; ${doubts}.`;
      if (bears === null) return "How much noise a deep tree bears is being computed.";
      if (!bears) return `${deep} loses its class at any noise above ${MapPool.TRACE}.`;
      return `${deep} keeps its class below ε ≈ ${bears.toPrecision(2)}; ${doubts}.`;
    }

    function redraw() {
      const [v, s, a, eps, L] = ["v", "s", "a", "eps", "L"].map(value);
      const top = limits(v, s, a);
      const m = value("m");
      const shown = { eps: eps.toFixed(3), a: a ? `${a}` : "0, even" };
      for (const [name] of ranges) inputs[name].previousElementSibling.value = shown[name] ?? value(name);
      inputs.a.setAttribute("aria-valuetext", shown.a);
      const width = Math.max(stage.clientWidth, 240);
      const wide = width >= 520;
      const side = wide ? Math.min((width - 112) / 2, 320) : width - 60;
      const high = wide ? Math.min(side, 290) : 0.72 * side;
      const low = wide ? 170 : 0.55 * side;
      const second = wide ? [width - side - 6, 12] : [44, high + 70];
      const third = 70 + high + (wide ? 0 : 58 + high);
      const noise = criticalNoise(v, m, s);
      const at = { v, s, m, a, eps, L, top, noise, now: phase(v, m, s), third: fixedPoints(v, m, s)[1] };
      pool.take(at);
      const { up: p, marginal: P } = a ? pool.levels(at) : even(at);
      picture.replaceChildren();
      areas = [];
      phases({ left: 44, top: 12, wide: side, high }, at);
      staircase({ left: second[0], top: second[1], wide: side, high }, at, p);
      levels({ left: 44, top: third, wide: width - (wide ? 50 : 60), high: low }, at, P);
      svg.setAttribute("viewBox", `0 0 ${width} ${third + low + 44}`);

      const ending = L > 1 ? "s" : "";
      const words =
        (a ? uneven(at) : verdict(at)) +
        ` From ${p[0].toFixed(3)} at the leaves the belief goes to ${p[L].toFixed(3)} after ${L} level${ending};` +
        ` from there down again, the leaves have ${P[0].toFixed(3)}.`; // prettier-ignore
      if (said.textContent !== words) said.textContent = words;
      point.setAttribute("aria-valuenow", eps);
      point.setAttribute("aria-valuetext", `m = ${m}, ε = ${eps.toFixed(3)}`);
      svg.setAttribute("aria-label", `v = ${v}, m = ${m}, s = ${s}, ${a ? `a = ${a}, ` : ""}ε = ${eps}. ${words}`);
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
  [...["engine", "random", "weights", "meanfield", "population", "jobs", "worker"].map((part) => `engine/${part}`), "map-pool"],
);
