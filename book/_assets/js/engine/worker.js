// Jobs in workers, so that the page stays at the reader's hands. Their source is the engine's own text: a page that is
// opened from a file may not start a worker of another file.
Engine.part((E) => {
  // What runs in a worker: one job, then it is done.
  function serve() {
    globalThis.onmessage = ({ data: { name, options } }) => {
      try {
        for (const piece of Engine.jobs[name](options)) postMessage({ piece });
        postMessage({ done: true });
      } catch (error) {
        postMessage({ error: error.message });
      }
    };
  }

  // Start a job, by its name in Engine.jobs, in one worker or shared by several; report is called with each piece.
  // Returns {done, stop}: done comes true when all is reported, false after stop(), which ends it at once; it fails
  // with the sentence of the first error. Nothing is reported after that: workers that are ended say nothing more.
  function start(name, options, report, { workers = 1 } = {}) {
    if (!Object.hasOwn(E.jobs, name)) E.refuse("name", `one of ${Object.keys(E.jobs).join(", ")}`, name);
    E.whole("workers", workers, 1, 64);
    const url = URL.createObjectURL(new Blob([`${E.source()}\n(${serve})();`], { type: "text/javascript" }));
    const crew = Array.from({ length: workers }, () => new Worker(url));
    let stop;
    const ended = new Promise((resolve, reject) => {
      let left = workers;
      stop = () => resolve(false);
      crew.forEach((worker, part) => {
        worker.onmessage = ({ data }) => {
          if (data.error !== undefined) reject(new Error(data.error));
          else if (!data.done) report(data.piece);
          else if (!--left) resolve(true);
        };
        worker.onerror = (event) => reject(new Error(`worker: ${event.message}`));
        worker.postMessage({ name, options: { ...options, part, of: workers } });
      });
    });
    const end = () => {
      crew.forEach((worker) => worker.terminate());
      URL.revokeObjectURL(url);
    };
    return {
      done: ended.finally(end),
      stop() {
        end();
        stop();
      },
    };
  }

  E.start = start;
});
