// The page of claims, narrowed to one verdict, chapter or kind. What is chosen stands in the address, so that it can be
// kept, sent and gone back to; without this script all claims are there.
(() => {
  const claims = [...document.querySelectorAll(".claim")];
  const first = document.querySelector("#of-the-paper");
  if (!claims.length || !first) return;

  const tagged = (claim, start) => [...claim.classList].find((name) => name.startsWith(start))?.slice(start.length);
  const facts = new Map(
    claims.map((claim) => [
      claim,
      {
        verdict: claim.querySelector(".claim-verdict").textContent,
        chapter: tagged(claim, "claim-in-") ?? "",
        of: tagged(claim, "claim-of-"),
      },
    ]),
  );
  const whose = { paper: "the paper", data: "the paper, on other data", own: "this book" };
  // A chapter stands in the list as in the table of contents, which has its number.
  const contents = [...document.querySelectorAll("nav.bd-links a")];
  const titles = {};
  const order = {};
  for (const [claim, { chapter }] of facts) {
    if (chapter in titles) continue;
    const link = claim.querySelector(".claim-links a");
    const at = link ? contents.findIndex(({ href }) => href === link.href.replace(/#.*/, "")) : -1;
    titles[chapter] = contents[at]?.textContent.trim() ?? link?.textContent ?? "none yet";
    order[chapter] = at < 0 ? contents.length : at;
  }
  const named = { verdict: (x) => x, chapter: (x) => titles[x], of: (x) => whose[x] };
  const label = { verdict: "Verdict", chapter: "Chapter", of: "Of" };

  const form = document.createElement("form");
  form.className = "claims-filter";
  const choice = {};
  for (const key of Object.keys(label)) {
    const line = form.appendChild(document.createElement("label"));
    line.textContent = `${label[key]} `;
    choice[key] = line.appendChild(document.createElement("select"));
    choice[key].name = key;
    choice[key].add(new Option("any", ""));
    const values = [...new Set([...facts.values()].map((fact) => fact[key]))];
    if (key === "chapter") values.sort((a, b) => order[a] - order[b]);
    for (const value of values)
      choice[key].add(new Option(named[key](value), value));
  }
  const count = form.appendChild(document.createElement("output"));
  first.before(form);

  const chosen = () => Object.fromEntries(Object.entries(choice).filter(([, at]) => at.value).map(([key, at]) => [key, at.value]));
  const show = () => {
    const wanted = Object.entries(chosen());
    let left = 0;
    for (const [claim, fact] of facts) {
      claim.hidden = !wanted.every(([key, value]) => fact[key] === value);
      left += !claim.hidden;
    }
    for (const folded of document.querySelectorAll(".claims-folded")) {
      folded.hidden = ![...folded.querySelectorAll(".claim")].some((claim) => !claim.hidden);
      if (wanted.length) folded.open = true;
    }
    for (const part of first.parentElement.querySelectorAll(":scope > section")) {
      const own = part.querySelectorAll(".claim");
      part.hidden = own.length > 0 && ![...own].some((claim) => !claim.hidden);
    }
    count.textContent = wanted.length ? `${left} of ${claims.length} claims` : `${claims.length} claims`;
  };
  const read = () => {
    const asked = new URLSearchParams(location.hash.includes("=") ? location.hash.slice(1) : location.search);
    for (const [key, at] of Object.entries(choice)) {
      at.value = asked.get(key) ?? "";
      if (at.selectedIndex < 0) at.value = ""; // a word that no claim has
    }
    show();
    const target = location.hash.includes("=") ? null : document.getElementById(decodeURIComponent(location.hash.slice(1)));
    const folded = target?.closest(".claims-folded");
    if (folded) folded.open = true;
    if (target?.matches(".claim")) target.scrollIntoView();
  };
  form.addEventListener("change", () => {
    const words = new URLSearchParams(chosen()).toString();
    history.pushState(null, "", words ? `#${words}` : location.pathname);
    show();
  });
  form.addEventListener("submit", (event) => event.preventDefault());
  addEventListener("hashchange", read);
  addEventListener("popstate", read);
  read();
})();
