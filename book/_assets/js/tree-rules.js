// A datum and its latent symbols as a tree; choosing a node writes its symbol by another of its m rules.
// Data: {v, m, s, L, rules, root, index, colours, inks}; rules[l][symbol][which] is a tuple of level-l symbols.
const TreeRules = (() => {
  const nodes = (g, level) => g.s ** (g.L - level);

  // The rule that each node uses, choices[level][node], from the number of a datum within its class; the same
  // order as hierlib.enumeration.all_data: the class decides slowest, then level by level.
  function choicesOf(g, index) {
    const choices = [];
    for (let level = 1; level <= g.L; level++) {
      choices[level] = [];
      for (let i = 0; i < nodes(g, level); i++) {
        choices[level].push(index % g.m);
        index = Math.floor(index / g.m);
      }
    }
    return choices;
  }

  function indexOf(g, choices) {
    let index = 0;
    for (let level = g.L; level >= 1; level--) {
      for (let i = nodes(g, level) - 1; i >= 0; i--) index = index * g.m + choices[level][i];
    }
    return index;
  }

  // All levels of the datum, leaves first.
  function derive(g, root, choices) {
    const x = [];
    x[g.L] = [root];
    for (let level = g.L; level >= 1; level--) {
      x[level - 1] = x[level].flatMap((symbol, i) => g.rules[level - 1][symbol][choices[level][i]]);
    }
    return x;
  }

  return { choicesOf, indexOf, derive, nodes };
})();
if (typeof module !== "undefined") module.exports = TreeRules;

if (typeof Live !== "undefined")
  Live.figure("tree-rules", (stage, g) => {
    const { choicesOf, indexOf, derive, nodes } = TreeRules;
    const SVG = "http://www.w3.org/2000/svg";
    const make = (parent, tag, attributes = {}, text = "", space = null) => {
      const el = space ? document.createElementNS(space, tag) : document.createElement(tag);
      for (const [key, value] of Object.entries(attributes)) el.setAttribute(key, value);
      if (text !== "") el.textContent = text;
      return parent.appendChild(el);
    };
    const draw = (parent, tag, attributes, text) => make(parent, tag, attributes, text, SVG);
    const name = (level) => (level === 0 ? "leaf" : level === g.L ? "class" : `level ${level}`);
    const first = derive(g, g.root, choicesOf(g, g.start));
    const total = g.m ** ((g.s ** g.L - 1) / (g.s - 1));
    let choices = choicesOf(g, g.start);
    let at = [g.L, 0]; // the node that the keyboard is on
    let touched = null;

    const svg = draw(stage, "svg", { role: "group", "aria-label": "The tree; each node above the leaves is a button" });
    svg.style.cssText = "display:block;width:100%;overflow:visible;font-family:var(--hier-sans)";
    const said = make(stage, "p", { role: "status" });
    said.style.cssText = "margin:.4rem 0;font-family:var(--hier-sans)";
    const table = make(stage, "div");
    table.style.cssText = "display:flex;flex-wrap:wrap;gap:.4rem 1.6rem;font:.85rem var(--hier-sans)";
    const row = make(stage, "p");
    row.style.margin = ".6rem 0 0";
    const button = make(row, "button", { type: "button" }, "Back to the first datum");
    button.addEventListener("click", () => {
      choices = choicesOf(g, g.start);
      touched = null;
      redraw();
    });

    function use(level, i) {
      choices[level][i] = (choices[level][i] + 1) % g.m;
      touched = [level, i];
      at = [level, i];
      redraw(true);
    }

    function key(event, level, i) {
      const s = g.s;
      const step = { ArrowLeft: [level, i - 1], ArrowRight: [level, i + 1], ArrowUp: [level + 1, Math.floor(i / s)],
        ArrowDown: [level - 1, i * s] }[event.key]; // prettier-ignore
      if (event.key === "Enter" || event.key === " ") use(level, i);
      else if (step && step[0] >= 1 && step[0] <= g.L && step[1] >= 0 && step[1] < nodes(g, step[0])) {
        at = step;
        redraw(true);
      } else if (!step) return;
      event.preventDefault();
    }

    function redraw(focus = false) {
      const x = derive(g, g.root, choices);
      const width = Math.max(stage.clientWidth, 260);
      const wide = width >= 520;
      const margin = wide ? 64 : 4;
      const d = x[0].length;
      const step = (width - margin - 8) / d;
      const radius = Math.min(15, 0.42 * step);
      const rise = wide ? 66 : 58;
      const height = g.L * rise + 2 * radius + 22;
      svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
      svg.style.height = `${height}px`;
      svg.replaceChildren();
      const place = (level, i) => [
        margin + step * (g.s ** level * (i + 0.5)),
        radius + 12 + (g.L - level) * rise,
      ];
      for (let level = g.L; level >= 1; level--)
        x[level - 1].forEach((_, k) => {
          const [x1, y1] = place(level, Math.floor(k / g.s));
          const [x2, y2] = place(level - 1, k);
          draw(svg, "line", { x1, y1, x2, y2, stroke: "currentColor", "stroke-opacity": 0.5 });
        });
      x.forEach((symbols, level) => {
        if (wide) draw(svg, "text", { x: 0, y: place(level, 0)[1] + 5, "font-size": 13, fill: "currentColor" },
          level ? name(level) : "leaves"); // prettier-ignore
        symbols.forEach((symbol, i) => {
          const [cx, cy] = place(level, i);
          const kept = symbol === first[level][i];
          const which = level ? choices[level][i] : 0;
          const label = `${name(level)} ${level === g.L ? "" : i + 1}: symbol ${symbol}${kept ? "" : ", changed"}`;
          const here = level === at[0] && i === at[1];
          const node = draw(svg, "g", level === 0 ? { role: "img", "aria-label": label } : {
            role: "button", tabindex: here ? 0 : -1,
            "aria-label": `${label}; rule ${which + 1} of ${g.m}: ${g.rules[level - 1][symbol][which].join(" ")}`,
          }); // prettier-ignore
          if (level) {
            node.style.cursor = "pointer";
            draw(node, "circle", { cx, cy, r: Math.max(radius, 21), fill: "transparent" });
            node.addEventListener("click", () => use(level, i));
            node.addEventListener("keydown", (event) => key(event, level, i));
            if (here && focus) queueMicrotask(() => node.focus());
          }
          const ring = kept ? g.colours[level] : "var(--hier-changed)";
          draw(node, "circle", { cx, cy, r: radius - 1, fill: kept ? ring : "var(--hier-paper)", stroke: ring,
            "stroke-width": 2 }); // prettier-ignore
          if (!kept) draw(node, "path", { d: `M${cx + radius * 0.8} ${cy - radius}l5 5m0 -5l-5 5`, stroke: ring,
            "stroke-width": 1.6 }); // prettier-ignore
          draw(node, "text", { x: cx, y: cy + 5, "text-anchor": "middle", "font-size": Math.min(14, radius),
            fill: kept ? g.inks[level] : "currentColor" }, symbol); // prettier-ignore
        });
      });
      rules(x);
      const changed = x[0].filter((symbol, i) => symbol !== first[0][i]).length;
      said.textContent =
        `Class ${g.root}, written in way ${indexOf(g, choices) + 1} of ${total}. ` +
        `${changed} of ${d} leaves differ from the first datum; the class does not.` +
        (g.m === 1 ? " With m = 1 there is no other way." : touched ? "" : " Choose a node: click it, or arrow keys and Enter.");
    }

    // One block a level: the rules of every symbol, those in use underlined, the one touched last framed.
    function rules(x) {
      table.replaceChildren();
      for (let level = g.L; level >= 1; level--) {
        const block = make(table, "div");
        const children = level === 1 ? "leaves" : name(level - 1);
        make(block, "div", {}, `${name(level)} → ${children}`).style.fontWeight = 600;
        g.rules[level - 1].forEach((ways, symbol) => {
          const line = make(block, "div");
          line.append(`${symbol} → `);
          ways.forEach((tuple, which) => {
            const uses = x[level].some((a, i) => a === symbol && choices[level][i] === which);
            const last = touched && touched[0] === level && x[level][touched[1]] === symbol &&
              choices[level][touched[1]] === which; // prettier-ignore
            const way = make(line, "span", {}, tuple.join(" "));
            way.style.cssText =
              "display:inline-block;padding:0 .25em;margin-right:.35em;border-radius:3px;" +
              (uses ? `box-shadow:inset 0 -3px 0 ${g.colours[level]};` : "opacity:.75;") +
              (last ? "outline:2px solid var(--hier-changed);" : "");
          });
        });
      }
    }

    redraw();
    return () => redraw();
  });
