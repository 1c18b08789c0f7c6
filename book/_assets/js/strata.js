// The strata of one datum: 11 rows, the class on top; what the noise has changed is erased. The reader
// guesses first at which noise the class goes, then turns the noise up.
Live.figure("strata", (stage, data) => {
  const $ = (selector) => stage.querySelector(selector);
  const canvas = $("canvas");
  const slider = $("input");
  const word = $(".strata-word");
  const runs = data.kept.map((run) => run.map(Live.bytes));
  const last = data.t.length - 1;
  let run = 0;
  let guess = null; // an index into t; while null the slider sets it, and nothing else moves

  const percent = (x) => `${Math.round(100 * x)} %`;
  const noise = (i) => `t = ${data.t[i]}, ${percent(data.alpha_bar[i])} of the signal kept`;
  const shown = () => (guess === null ? 0 : +slider.value);
  const classKept = (i) => (runs[run][i][0] & 128) !== 0; // the root is the first bit

  // The noise at which half of the runs keep their class, as a place between two stops of the slider.
  const half = (() => {
    const k = data.class_kept.findIndex((x) => x < 0.5);
    if (k < 1) return null;
    const [a, b] = [data.class_kept[k - 1], data.class_kept[k]];
    return k - 1 + (a - 0.5) / (a - b);
  })();
  const at = (i) => data.t[Math.floor(i)] + (i % 1) * ((data.t[Math.ceil(i)] ?? 0) - data.t[Math.floor(i)]);

  // Cells are narrower than a pixel in the lowest rows: every pixel gets the fraction kept that it covers.
  function paint() {
    const scale = devicePixelRatio || 1;
    const width = Math.round(canvas.clientWidth * scale);
    const height = Math.round(canvas.clientHeight * scale);
    if (!width || !height) return;
    if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, { width, height });
    const pen = canvas.getContext("2d");
    pen.clearRect(0, 0, width, height);
    const bits = runs[run][shown()];
    const erased = Live.colour("--hier-erased");
    const pitch = height / (data.L + 1);
    const gap = 2 * scale;
    for (let row = 0, first = 0, n = 1; row <= data.L; row++, first += n, n *= data.s) {
      const top = Math.round(row * pitch);
      const tall = Math.round((row + 1) * pitch) - top - (row < data.L ? gap : 0);
      const kept = (k) => (bits[(first + k) >> 3] >> (7 - ((first + k) & 7))) & 1;
      const cell = width / n;
      pen.fillStyle = erased;
      pen.fillRect(0, top, width, tall);
      pen.fillStyle = data.colours[data.L - row];
      if (cell >= 2 * scale) {
        const space = cell > 6 * scale ? scale : 0;
        for (let k = 0; k < n; k++) {
          if (kept(k)) pen.fillRect(Math.round(k * cell), top, Math.round((k + 1) * cell) - Math.round(k * cell), tall);
        }
        if (space) for (let k = 1; k < n; k++) pen.clearRect(Math.round(k * cell) - space / 2, top, space, tall);
      } else {
        for (let x = 0; x < width; x++) {
          let sum = 0;
          const [from, to] = [x / cell, (x + 1) / cell];
          for (let k = Math.floor(from); k < Math.min(n, Math.ceil(to)); k++) {
            sum += kept(k) * (Math.min(to, k + 1) - Math.max(from, k));
          }
          pen.globalAlpha = Math.min(1, sum * cell);
          pen.fillRect(x, top, 1, tall);
        }
        pen.globalAlpha = 1;
      }
      if (row === 0 && !classKept(shown())) {
        const line = 2 * scale;
        pen.strokeStyle = Live.colour("--hier-changed");
        pen.lineWidth = line;
        pen.strokeRect(line / 2, top + line / 2, width - line, tall - line);
      }
    }
  }

  function meter(name, fraction, text) {
    const el = $(`[data-meter="${name}"]`);
    el.querySelector("output").textContent = text;
    el.querySelector("i").style.setProperty("--fraction", fraction);
  }

  function place(selector, index) {
    const mark = $(selector);
    mark.hidden = index === null;
    if (index === null) return;
    mark.style.setProperty("--at", index / last);
    mark.dataset.side = index / last > 0.6 ? "left" : "right";
  }

  function say() {
    const i = +slider.value;
    $(".strata-t").textContent = noise(i);
    slider.setAttribute("aria-valuetext", noise(i));
    if (guess === null) {
      place(".strata-guess", i ? i : null);
      return;
    }
    const fate = classKept(i) ? "kept" : "changed";
    meter("class", data.class_kept[i], `${Math.round(100 * data.class_kept[i])} of 100 runs`);
    meter("leaves", data.leaves_kept[i], percent(data.leaves_kept[i]));
    canvas.setAttribute(
      "aria-label",
      `At ${noise(i)}: in this run the class is ${fate}; of all runs ${percent(data.class_kept[i])} keep ` +
        `the class, and ${percent(data.leaves_kept[i])} of the leaves are kept`,
    );
    if (half !== null && i > half) {
      place(".strata-truth", half);
      const gone = percent(data.leaves_kept[Math.round(half)]);
      word.textContent =
        `You guessed t = ${data.t[guess]}. Half of the runs change the class at t = ${at(half).toFixed(3)}, ` +
        `while ${gone} of the leaves are what they were.`;
    }
  }

  function draw() {
    say();
    paint();
  }

  $(".strata-go").addEventListener("click", () => {
    if (guess === null) {
      guess = +slider.value;
      place(".strata-guess", guess);
      slider.value = 0;
      word.textContent = "Now turn the noise up, and watch the top row.";
      $(".strata-go").textContent = "Guess again";
      $(".strata-next").hidden = runs.length < 2;
      slider.focus({ preventScroll: true });
    } else {
      guess = null;
      place(".strata-truth", null);
      slider.value = 0;
      word.textContent = "How much noise does it take to change the class of this datum? Slide to your guess, then try.";
      $(".strata-go").textContent = "That is my guess";
      $(".strata-next").hidden = true;
      meter("class", 1, "100 of 100 runs");
      meter("leaves", 1, "100 %");
    }
    draw();
  });
  $(".strata-next").addEventListener("click", () => {
    run = (run + 1) % runs.length;
    draw();
  });
  slider.addEventListener("input", draw);
  draw();
  return paint;
});
