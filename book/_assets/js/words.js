// A text on a U-turn: what each word has become after a fraction of the words, that of the slider, was erased.
// Data: {t: [T], words: [T][n] with the space before each, state: [T] strings of n digits, start}.
const Words = (() => {
  const count = (state, digit) => [...state].filter((c) => c === digit).length;
  function sentence(data, i) {
    const n = data.words[i].length;
    if (!data.t[i]) return `The start: ${n} words and marks that the model has never seen.`;
    const [back, other] = [count(data.state[i], "1"), count(data.state[i], "2")];
    return `${back + other} of ${n} were erased: ${back} came back the same, ${other} as others.`;
  }
  return { sentence };
})();
if (typeof module !== "undefined") module.exports = Words;

if (typeof Live !== "undefined")
  Live.figure("words", (stage, data) => {
    const slider = stage.querySelector('input[type="range"]');
    const [text, value, say] = [".words-text", "output", ".words-word"].map((name) => stage.querySelector(name));
    slider.value = data.start;

    function draw() {
      const i = +slider.value;
      text.replaceChildren(
        ...data.words[i].flatMap((word, k) => {
          const state = data.state[i][k];
          if (state === "0") return [word];
          const mark = document.createElement(state === "1" ? "span" : "ins");
          mark.textContent = word.trimStart();
          if (state === "2") mark.title = `was: ${data.words[0][k].trim()}`;
          return [word.startsWith(" ") ? " " : "", mark];
        }),
      );
      value.textContent = data.t[i] ? `t = ${data.t[i]}` : "nothing";
      say.textContent = Words.sentence(data, i);
      slider.setAttribute("aria-valuetext", say.textContent);
    }

    stage.addEventListener("input", draw);
    draw();
  });
