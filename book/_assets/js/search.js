// The search page: finds sections, symbols, terms and names of the API in search-texts.js, and shows the words around what
// was asked for.
const Search = (() => {
  const ASKING = new Set("a an and are at be by can do does for how i in is it my of on or the there this to what when where which why with".split(" "));
  const plain = (text) => text.normalize("NFKD").replace(/\p{M}/gu, "").toLowerCase();
  const stem = (word) => plain(word).replace(/(?<=\w{3})(?:ies|y)$/, "i").replace(/(?<=\w{3})(?:ing|ed|es|s|e)$/, "");
  // Of several words those that tell: "what is epsilon" asks for "epsilon".
  const telling = (words) => {
    const left = words.filter((word) => !ASKING.has(plain(word)));
    return left.length ? left : words;
  };
  const key = (text) => telling(text.split(/[\s_.,;:?!"“”–-]+/).filter(Boolean)).map(stem).join(" ");

  // Where a find stands: prose before names of functions, and these before the claims, which quote all of it once more.
  const kind = ({ uri }) => (uri.includes("#claim-") ? 2 : uri.includes("#hierlib.") ? 1 : 0);

  // A function that finds what was asked, best first, in the texts of hierlib/book/site/search.py.
  function finder(MiniSearch, texts) {
    const engine = new MiniSearch({
      fields: ["title", "said", "text"],
      storeFields: ["page", "title", "text", "uri"],
      processTerm: (word) => (word ? stem(word) : null),
    });
    const sections = [];
    for (const [uri, parts] of texts)
      parts.forEach(([short, named, text, words = []], i) => {
        const anchor = short.replace(/^\./, "hierlib.");
        const title = named || short.slice(1);
        const address = !i ? uri : anchor.startsWith("?") ? uri + anchor : `${uri}#${anchor}`;
        const each = address.includes("#symbol-") ? [title, ...words].flatMap((said) => said.split(", ")) : [];
        const tail = address.includes("#hierlib.") ? title.split(".").slice(-2).join(".") : title;
        const exact = new Set(address.includes("#claim-") ? [] : [title, tail, ...each, ...words].map(key));
        sections.push({ id: sections.length, page: parts[0][1], title, text, said: words.join(" "), exact, uri: address });
      });
    engine.addAll(sections);

    return (asked) => {
      const words = telling(asked.replace(/^(?:hl|hierlib)\./, "").split(/\s+/)).join(" ");
      const options = {
        boost: { title: 4, said: 4 },
        prefix: (word) => word.length > 3,
        weights: { prefix: 0.3, fuzzy: 0.2 },
      };
      // What is called just this comes first, then what has all the words, then any; a longer word counts as found where it
      // begins with what was asked. Only where nothing is found may one letter of a word be another.
      const find = (more) => engine.search(words, { ...options, ...more });
      const all = new Set(find({ combineWith: "AND" }).map(({ id }) => id));
      const asKey = key(words);
      const place = ({ id }) => (sections[id].exact.has(asKey) ? 0 : 3 * !all.has(id) + kind(sections[id]) + 1);
      const any = find({});
      const found = any.length ? any : find({ fuzzy: (word) => word.length > 4 && 1 });
      return found.map((each) => ({ ...each, place: place(each) })).sort((a, b) => a.place - b.place || b.score - a.score);
    };
  }
  return { finder, stem };
})();
if (typeof module !== "undefined") module.exports = Search;

if (typeof document !== "undefined") (async () => {
  const box = document.querySelector("#search-results");
  const asked = (new URLSearchParams(location.search).get("q") ?? "").trim();
  if (!box || typeof MiniSearch === "undefined" || typeof searchTexts === "undefined") return;
  for (const input of document.querySelectorAll("form.bd-search input")) input.value = asked;
  if (!asked) return;
  const { finder, stem } = Search;
  let found;
  try {
    found = finder(MiniSearch, await searchTexts())(asked);
  } catch {
    box.textContent = "This browser cannot unpack the texts of the book; one of 2023 or later can.";
    return;
  }

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
