// Images on a U-turn: what each has become after inversion at the time of the slider.
// Data: {t: [T], names: [T][n], start, found: {shape: [rows, columns], bits: base64 of (T, n, rows, columns)} or none}.
// The images are one sheet (--sheet): a row for each image, a column for each time.
const Pictures = (() => {
  const changed = (data, i) => data.names[i].filter((name, k) => name !== data.names[0][k]).length;
  function sentence(data, i) {
    const n = data.names[0].length;
    if (!data.t[i]) return `No noise: the ${n} starts as they are.`;
    const c = changed(data, i);
    const what = c ? `${c} of ${n} are another class now` : `all ${n} are still what they were`;
    return `Noise up to t/T = ${data.t[i]}, and back: ${what}.`;
  }
  // Whether patch p of image k at time i is found again in its start.
  function found(data, bits, i, k, p) {
    const per = data.found.shape[0] * data.found.shape[1];
    const at = (i * data.names[0].length + k) * per + p;
    return !!((bits[at >> 3] >> (7 - (at & 7))) & 1);
  }
  return { changed, sentence, found };
})();
if (typeof module !== "undefined") module.exports = Pictures;

if (typeof Live !== "undefined")
  Live.figure("pictures", (stage, data) => {
    const slider = stage.querySelector('input[type="range"]');
    const box = stage.querySelector('input[type="checkbox"]');
    const [say, value] = [stage.querySelector(".pictures-word"), stage.querySelector("output")];
    const cards = [...stage.querySelectorAll(".pictures-card")];
    const bits = data.found && Live.bytes(data.found.bits);
    const [T, n] = [data.t.length, cards.length];
    slider.value = data.start;
    cards.forEach((card, k) => {
      card.style.setProperty("--size", `${100 * T}% ${100 * n}%`);
      card.style.setProperty("--row", `${n > 1 ? (100 * k) / (n - 1) : 0}%`);
    });

    // A wash over every patch, the colour of what is kept or of what is new; black stays black under it.
    function wash(i, k) {
      const [rows, columns] = data.found.shape;
      let cells = "";
      for (let p = 0; p < rows * columns; p++) {
        const of = Pictures.found(data, bits, i, k, p) ? "found" : "new";
        cells += `<rect class="pictures-${of}" x="${p % columns}" y="${Math.floor(p / columns)}" width="1.02" height="1.02"/>`;
      }
      return `<svg viewBox="0 0 ${columns} ${rows}" aria-hidden="true">${cells}</svg>`;
    }

    function draw() {
      const i = +slider.value;
      cards.forEach((card, k) => {
        const [picture, name] = card.children;
        const other = data.names[i][k] !== data.names[0][k];
        picture.style.backgroundPosition = `${(100 * i) / (T - 1)}% var(--row)`;
        picture.setAttribute("aria-label", `${data.names[0][k]}, after the U-turn: ${data.names[i][k]}`);
        picture.innerHTML = box?.checked && i ? wash(i, k) : "";
        card.classList.toggle("pictures-changed", other);
        card.classList.toggle("pictures-after", i > 0);
        name.textContent = (other ? "× " : "") + data.names[i][k];
      });
      value.textContent = data.t[i] ? `t/T = ${data.t[i]}` : "none";
      say.textContent = Pictures.sentence(data, i);
      slider.setAttribute("aria-valuetext", say.textContent);
    }

    stage.addEventListener("input", draw);
    draw();
  });
