// The search page: finds sections and names of the API in search-texts.js, and shows the words around what was asked for.
(() => {
  const box = document.querySelector("#search-results");
  const asked = (new URLSearchParams(location.search).get("q") ?? "").trim();
  if (!box || typeof MiniSearch === "undefined" || typeof searchTexts === "undefined") return;
  for (const input of document.querySelectorAll("form.bd-search input")) input.value = asked;
  if (!asked) return;

  const plain = (text) => text.normalize("NFKD").replace(/\p{M}/gu, "").toLowerCase();
  const stem = (word) => plain(word).replace(/(?<=\w{3})(?:ies|y)$/, "i").replace(/(?<=\w{3})(?:ing|ed|es|s|e)$/, "");
  const engine = new MiniSearch({
    fields: ["title", "text"],
    storeFields: ["page", "title", "text", "uri"],
    processTerm: (word) => (word ? stem(word) : null),
  });
  const sections = [];
  for (const [uri, parts] of searchTexts)
    parts.forEach(([anchor, said, text], i) => {
      const title = said || anchor.replace(/^hierlib\./, "");
      sections.push({ id: sections.length, page: parts[0][1], title, text, uri: i ? `${uri}#${anchor}` : uri });
    });
  engine.addAll(sections);

  // What tells comes before the names of functions, and these before the claims, which quote all of it once more.
  const weigh = (id) => (sections[id].uri.includes("#claim-") ? 0.2 : sections[id].uri.includes("#hierlib.") ? 0.5 : 1);

  // All words if some section has them all, else any; a longer word counts as found where it begins with what was asked.
  const options = { boostDocument: weigh, boost: { title: 4 }, prefix: (word) => word.length > 3, weights: { prefix: 0.3, fuzzy: 0.2 } };
  const find = (more) => engine.search(asked, { ...options, ...more });
  const all = find({ combineWith: "AND" });
  const seen = new Set(all.map(({ id }) => id));
  let found = [...all, ...find({}).filter(({ id }) => !seen.has(id))];
  if (!found.length) found = find({ fuzzy: 0.25 });

  const stems = new Set(found.flatMap(({ terms }) => terms));
  const excerpt = (text) => {
    const words = [...text.matchAll(/[\p{L}\p{N}_]+/gu)].map((word) => ({
      start: word.index,
      end: word.index + word[0].length,
      hit: stems.has(stem(word[0])) ? stem(word[0]) : null,
    }));
    const hits = words.filter(({ hit }) => hit);
    const different = (from) => new Set(hits.filter(({ start }) => start >= from && start < from + 200).map(({ hit }) => hit)).size;
    const best = hits.reduce((top, { start }) => (different(start) > different(top) ? start : top), hits[0]?.start ?? 0);
    const low = Math.max(0, best - 60);
    const from = low && text.indexOf(" ", low) + 1;
    const cut = text.indexOf(" ", Math.min(text.length, from + 260));
    const to = cut < 0 ? text.length : cut;
    const line = document.createElement("p");
    let at = from;
    if (from) line.append("… ");
    for (const { start, end } of hits.filter((word) => word.start >= from && word.end <= to)) {
      line.append(text.slice(at, start));
      line.appendChild(document.createElement("mark")).textContent = text.slice(start, end);
      at = end;
    }
    line.append(text.slice(at, to), to < text.length ? " …" : "");
    return line;
  };

  const summary = box.appendChild(document.createElement("p"));
  summary.setAttribute("role", "status");
  summary.textContent = found.length
    ? `${found.length} ${found.length === 1 ? "place" : "places"} found${found.length > 30 ? "; the first 30" : ""}.`
    : `Nothing found for “${asked}”.`;
  const list = box.appendChild(document.createElement("ul"));
  list.className = "search";
  for (const { page, title, text, uri } of found.slice(0, 30)) {
    const item = list.appendChild(document.createElement("li"));
    const link = item.appendChild(document.createElement("a"));
    link.href = uri;
    link.textContent = title;
    if (page !== title) item.append(` in ${page}`);
    if (text) item.append(excerpt(text));
  }
})();
