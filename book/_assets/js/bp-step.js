// Belief propagation on a small tree, one level of messages a step: up from the leaves, then down from the class.
// Data: {v, m, s, L, rules, evidence, truth, colours}; evidence[leaf][symbol], rules[l][symbol][which] = tuple.
Live.figure(
  "bp-step",
  (stage, g) => {
    const make = (parent, tag, attributes = {}, text = "", space = null) => {
      const el = space ? document.createElementNS(space, tag) : document.createElement(tag);
      for (const [key, value] of Object.entries(attributes)) el.setAttribute(key, value);
      if (text !== "") el.textContent = text;
      return parent.appendChild(el);
    };
    const draw = (parent, tag, attributes, text) => make(parent, tag, attributes, text, "http://www.w3.org/2000/svg");
    const name = (level) => (level === 0 ? "leaves" : level === g.L ? "class" : `level ${level}`);
    const last = 2 * g.L + 1;
    const blank = new Set();
    let step = 0;
    let at = [0, g.focus ?? 0];
    const grammar = new Engine.Grammar(g);
    let b = believe();

    const bar = make(stage, "p");
    bar.style.cssText = "display:flex;flex-wrap:wrap;gap:.5rem;margin:0 0 .3rem";
    const go = (text, to) => {
      const button = make(bar, "button", { type: "button" }, text);
      button.addEventListener("click", () => {
        step = Math.max(0, Math.min(last, to()));
        redraw();
      });
      return button;
    };
    const back = go("Back", () => step - 1);
    const next = go("Step", () => step + 1);
    go("Start again", () => 0);
    const erase = make(bar, "button", { type: "button" });
    erase.addEventListener("click", () => {
      if (!blank.delete(at[1])) blank.add(at[1]);
      b = believe();
      redraw();
    });
    const said = make(stage, "p", { role: "status" });
    said.style.cssText = "margin:.2rem 0 .4rem;min-height:4.6em;font-family:var(--hier-sans);font-size:.95em";
    const svg = draw(stage, "svg", { role: "group", "aria-label": "The tree; choose a node to see its messages" });
    svg.style.cssText = "display:block;width:100%;overflow:visible;font-family:var(--hier-sans)";

    // What every node has heard, from below, from above and in all; a blank leaf says nothing.
    function believe() {
      const evidence = g.evidence.map((p, i) => (blank.has(i) ? p.map(() => 1 / g.v) : p));
      const beliefs = Engine.infer(grammar, evidence.flat());
      return Object.fromEntries(["up", "down", "marginals"].map((kind) => [kind, beliefs.rows(kind)]));
    }
    const heard = (level) => level <= step; // has its upward message
    const done = (level) => step >= 2 * g.L + 1 - level; // has its downward message too
    const shown = (level, i) => (done(level) ? b.marginals : b.up)[level][i];
    const top = (p) => p.indexOf(Math.max(...p));

    function bars(parent, x, y, p, height, width, level, truth, before) {
      const wrong = top(p) !== truth;
      const left = x - (p.length * (width + 1)) / 2;
      p.forEach((value, symbol) => {
        const at = { x: left + symbol * (width + 1), width };
        draw(parent, "rect", { ...at, y: y - height, height, fill: "none", stroke: "currentColor", "stroke-opacity": 0.35,
          "stroke-width": 0.6 }); // prettier-ignore
        const fill = wrong && symbol === top(p) ? "var(--hier-changed)" : g.colours[level];
        draw(parent, "rect", { ...at, y: y - height * value, height: height * value, fill });
        if (before) draw(parent, "rect", { x: at.x, width, y: y - height * before[symbol] - 1, height: 2,
          fill: "currentColor" }); // prettier-ignore
        if (symbol === truth) draw(parent, "rect", { ...at, y: y + 3, height: 2.5, fill: "currentColor" });
      });
      return left;
    }

    function sentence() {
      if (step === 0) return "Every leaf has seen only itself.";
      if (step < g.L) return `▲ ${name(step)} has heard from its children.`;
      if (step === g.L) return "▲ The class has heard from all the leaves.";
      if (step === g.L + 1) return "◆ Nothing is above the class but its flat prior: what it heard is its exact posterior.";
      const below = step === last ? "The leaves have" : `${name(last - step)} has`;
      return `◆ ${below} heard from above as well: ▲ times ▼, the exact posterior.`;
    }

    function key(event, level, i) {
      const to = { ArrowLeft: [level, i - 1], ArrowRight: [level, i + 1], ArrowUp: [level + 1, Math.floor(i / g.s)],
        ArrowDown: [level - 1, i * g.s] }[event.key]; // prettier-ignore
      if (!to) return;
      event.preventDefault();
      if (!b.up[to[0]]?.[to[1]]) return;
      at = to;
      redraw(true);
    }

    function redraw(focus = false) {
      const d = b.up[0].length;
      const page = Math.max(stage.clientWidth, 260);
      const margin = page >= 520 ? 62 : 0;
      const unit = (page - margin) / d;
      const width = Math.max(1.5, Math.min(7, (unit - 5) / g.v - 1));
      const high = 34;
      const rise = 72;
      const floor = (level) => high + 14 + (g.L - level) * rise;
      const place = (level, i) => margin + unit * g.s ** level * (i + 0.5);
      svg.replaceChildren();
      for (let level = g.L; level >= 1; level--)
        b.up[level - 1].forEach((_, k) => {
          const lit = step >= 1 && (step <= g.L ? level === step : level - 1 === last - step);
          draw(svg, "line", { x1: place(level, Math.floor(k / g.s)), y1: floor(level) + 8, x2: place(level - 1, k),
            y2: floor(level - 1) - high - 6, stroke: "currentColor", "stroke-opacity": lit ? 1 : 0.3,
            "stroke-width": lit ? 2.4 : 1 }); // prettier-ignore
        });
      b.up.forEach((nodes, level) => {
        if (margin) draw(svg, "text", { x: 0, y: floor(level) - high / 2 + 5, "font-size": 13, fill: "currentColor" },
          name(level)); // prettier-ignore
        nodes.forEach((_, i) => {
          const x = place(level, i);
          const here = level === at[0] && i === at[1];
          const known = heard(level);
          const p = shown(level, i);
          const truth = g.truth[level][i];
          const says = known ? `believes ${top(p)} with ${p[top(p)].toFixed(2)}, truth ${truth}` : "has heard nothing yet";
          const node = draw(svg, "g", { role: "button", tabindex: here ? 0 : -1, "aria-pressed": here,
            "aria-label": `${name(level)} ${i + 1} ${says}` }); // prettier-ignore
          node.style.cursor = "pointer";
          const half = (g.v * (width + 1)) / 2 + 4;
          draw(node, "rect", { x: x - half, y: floor(level) - high - 5, width: 2 * half, height: high + 14, rx: 3,
            fill: "transparent", stroke: here ? "currentColor" : "none", "stroke-width": 1.4 }); // prettier-ignore
          if (known) bars(node, x, floor(level), p, high, width, level, truth, level === 0 && done(0) ? b.up[0][i] : null);
          else draw(node, "path", { d: `M${x - half + 4} ${floor(level)}h${2 * half - 8}`, stroke: "#7f7f7f" });
          node.addEventListener("click", () => ((at = [level, i]), redraw(true)));
          node.addEventListener("keydown", (event) => key(event, level, i));
          if (here && focus) queueMicrotask(() => node.focus());
        });
      });
      detail(page);
      back.disabled = step === 0;
      next.disabled = step === last;
      erase.disabled = at[0] !== 0;
      erase.textContent = at[0] ? "Blank a leaf" : blank.has(at[1]) ? `Unblank leaf ${at[1] + 1}` : `Blank leaf ${at[1] + 1}`;
      const right = b.up
        .map((nodes, level) => [level, nodes.filter((_, i) => top(shown(level, i)) === g.truth[level][i]).length])
        .filter(([level]) => heard(level))
        .map(([level, n]) => `${name(level)} ${n}/${b.up[level].length}`);
      said.textContent = `Step ${step} of ${last}. ${sentence()} True symbol on top: ${right.join(", ")}.`;
    }

    // The chosen node in full: what it heard from below, from above, and their normalised product.
    function detail(page) {
      const [level, i] = at;
      const y = 14 + 34 + g.L * 72 + 82;
      const parts = [["▲ from below", heard(level) && b.up], ["▼ from above", done(level) && b.down], ["◆ together",
        done(level) && b.marginals]]; // prettier-ignore
      const width = Math.min(16, page / (3 * g.v + 6) - 1);
      parts.forEach(([label, source], k) => {
        const x = (page * (k + 0.5)) / 3;
        for (let a = 0; a < g.v && width > 7; a++)
          draw(svg, "text", { x: x + (a - (g.v - 1) / 2) * (width + 1), y: y + 17, "text-anchor": "middle",
            "font-size": 11, fill: "currentColor", "aria-hidden": true }, a); // prettier-ignore
        draw(svg, "text", { x, y: y + 35, "text-anchor": "middle", "font-size": 13, fill: "currentColor" }, label);
        if (source) bars(svg, x, y, source[level][i], 46, width, level, g.truth[level][i], null);
        else draw(svg, "text", { x, y: y - 16, "text-anchor": "middle", "font-size": 13, fill: "currentColor" }, "not yet");
        if (k) draw(svg, "text", { x: (page * k) / 3, y: y - 16, "text-anchor": "middle", "font-size": 18,
          fill: "currentColor" }, k === 1 ? "×" : "="); // prettier-ignore
      });
      const title = level === g.L ? "The class" : `${level ? name(level) : "leaf"}${level ? ", node" : ""} ${i + 1}`;
      draw(svg, "text", { x: 0, y: y - 58, "font-size": 13, fill: "currentColor" }, `${title}:`);
      svg.setAttribute("viewBox", `0 0 ${page} ${y + 42}`);
      svg.style.height = `${y + 42}px`;
    }

    redraw();
    return () => redraw();
  },
  Live.engine,
);
