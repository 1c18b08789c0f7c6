// Formulas are set in MathJax's fonts. Some browsers refuse these files, to a page from the disk or to one in a sandboxed
// frame, which counts as another site; they take scripts from anywhere. Where the smallest font is refused,
// font-data.js brings all of them, before anything is set.
(() => {
  const base = document.currentScript.src.replace(/fonts\.js.*$/, "");
  const script = (src) =>
    new Promise((done) => document.head.append(Object.assign(document.createElement("script"), { src, onload: done, onerror: done })));
  const ready = new FontFace("probe", `url("${base}output/chtml/fonts/woff-v2/MathJax_Zero.woff")`)
    .load()
    .catch(() => script(`${base}font-data.js`));
  MathJax.config.startup.pageReady = async () => {
    await ready;
    for (const face of Object.values(MathJax._.output.chtml.fonts.tex_ts.TeXFont.defaultFonts)) {
      const data = MathJax.fontData?.[face.src.match(/MathJax_[\w-]+\.woff/)[0]];
      if (data) face.src = `url("data:font/woff;base64,${data}") format("woff")`;
    }
    return MathJax.startup.defaultPageReady();
  };
})();
