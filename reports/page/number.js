/** Where a number comes from: its values by seed, record, logs, settings, digests and commands, in a dialog. */
const number = (() => {
  const dialog = document.getElementById("number");
  let opener = null;

  const e = data.element;

  /** @param {string} name @param {(Node|string)[]} content */
  const fact = (name, ...content) => [e("dt", {}, name), e("dd", {}, ...content)];

  /** A command with a button that copies it. @param {string} text @param {string} what */
  const command = (text, what) => e("div", { className: "command" }, e("code", {}, text), download.copier(text, what));

  /** @param {?number} value */
  const digits = (value) => (value === null || value === undefined ? "–" : String(Number(value.toPrecision(5))));

  /** @param {Object} values a table of names and values */
  function pairs(values) {
    const list = e("dl", { className: "pairs" });
    for (const [name, value] of Object.entries(values)) {
      list.append(e("dt", {}, name), e("dd", {}, typeof value === "string" ? value : JSON.stringify(value)));
    }
    return list;
  }

  /** The values of each seed. @param {Array} values */
  function seeds(values) {
    const head = ["seed", "value", "standard error", "samples"].map((name) => e("th", { scope: "col" }, name));
    const rows = values.map(([seed, value, error, samples]) =>
      e("tr", {}, e("th", { scope: "row" }, String(seed)), e("td", {}, String(value)), e("td", {}, digits(error)), e("td", {}, String(samples))));
    return e("div", { className: "scroll" }, e("table", {}, e("thead", {}, e("tr", {}, ...head)), e("tbody", {}, ...rows)));
  }

  /** Everything about one number. @param {string} key @returns {Node[]} */
  function about(key) {
    const row = data.rows.get(key);
    if (row === undefined) return [e("p", {}, `This run has no number ${key}.`)];
    const point = data.numbers.points[row];
    const of = data.numbers.records[point[0]];
    const environment = data.numbers.environments[of.environment];
    const [, metric, mean, sd, se, floor] = point;
    const seconds = Object.entries(of.seconds).map(([stage, s]) => `${stage} ${s} s`).join(", ");
    const links = [["record.json", of.file], ...of.logs.map(([stage, file]) => [`log of ${stage}`, file])];
    const list = e("dl", { className: "facts" },
      ...(metric ? fact("mean", digits(mean), sd === null ? "" : ` ± ${digits(sd)} over seeds, standard error ${digits(se)}`) : fact("status", `${of.status}: ${of.reason || ""}`)),
      ...(floor === null ? [] : fact("floor", `${digits(floor)} for draws of the target itself`)),
      ...fact("files", ...links.flatMap(([word, file]) => [e("a", { href: file }, word), " "])),
      ...fact("method", `${of.title} (baselines/${of.baseline}.py), protocol ${of.protocol.replaceAll("_", " ")}`),
      ...fact("time grid", of.time_grid ? `${of.time_grid}: ${of.levels.map(digits).join(", ")}` : "–"),
      ...fact("trainings", of.trainings === null ? "–" : String(of.trainings)),
      ...fact("duration", seconds || "–", " (all seeds together)"),
      ...fact("hardware", `${environment.processor || "–"}, ${environment.cores || "–"} cores; ${of.device}, ${of.dtype}`),
      ...fact("commit", e("code", {}, of.commit || "–")));
    return [
      list,
      ...(metric ? [e("h3", {}, "Values by seed"), seeds(of.values[metric])] : []),
      e("h3", {}, "Make just this cell again"), command(of.command, "the command"),
      e("h3", {}, "Explain it on the command line"), command(`python -m hsivi explain ${quoted(key)} --scale ${data.all.scale}`, "the command"),
      e("details", {}, e("summary", {}, "Settings"), pairs(of.config)),
      e("details", {}, e("summary", {}, "Digests"), pairs(of.digests)),
    ];
  }

  /** A word of a shell. @param {string} text */
  const quoted = (text) => (/^[\w./+-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`);

  /** Show what the address asks for, or close. */
  function apply() {
    const wanted = address.get("number");
    if (!wanted) {
      if (dialog.open) dialog.close();
      return;
    }
    const keys = wanted.split(" ");
    const close = e("button", { type: "button", className: "close", "aria-label": "Close" }, "×");
    close.addEventListener("click", () => dialog.close());
    const parts = keys.flatMap((key, i) => {
      const title = e("h2", i ? {} : { id: "number-title" }, key);
      const tools = i ? [] : [close];
      return [e("div", { className: "dialog-head" }, title, ...tools), ...about(key)];
    });
    dialog.replaceChildren(...parts);
    if (!dialog.open) {
      opener = document.activeElement;
      dialog.showModal();
      dialog.scrollTop = 0;
    }
  }

  function start() {
    document.addEventListener("click", (event) => {
      const link = event.target.closest("a[data-keys]");
      if (!link || event.ctrlKey || event.metaKey || event.shiftKey || event.button) return;
      event.preventDefault();
      address.set({ number: link.dataset.keys });
    });
    dialog.addEventListener("click", (event) => { if (event.target === dialog) dialog.close(); });
    dialog.addEventListener("close", () => {
      address.set({ number: null });
      if (opener && opener.isConnected) opener.focus();
    });
  }

  return { start, apply, open: (key) => address.set({ number: key }) };
})();
