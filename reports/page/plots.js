/** Plots of quality against evaluations, sampling time and training time, and of total time against samples. */
const plots = (() => {
  const form = document.getElementById("plot-choice");
  const words = document.getElementById("plot-words");
  const points = document.querySelector("#plot-points div");
  let library = false;
  let visible = false;

  /** Start the library of plots, once. */
  function load() {
    if (library) return;
    library = true;
    document.head.append(data.element("script", {}, document.getElementById("plot-library").textContent));
  }

  /** The numbers of a data set and metric that the filters keep, by method. @returns {Map<string, Object[]>} */
  function series(experiment, dataset, metric) {
    const found = new Map();
    data.numbers.points.forEach((point) => {
      const of = data.numbers.records[point[0]];
      if (of.experiment !== experiment || of.dataset !== dataset || point[1] !== metric || data.methods.get(of.label).control) return;
      if (!filters.keeps({ method: [of.label], nfe: [String(of.nfe)] }, ["method", "nfe"])) return;
      const own = found.get(of.label) || [];
      own.push({ of, key: data.key(point), mean: point[2], sd: point[3], floor: point[5] });
      found.set(of.label, own);
    });
    return found;
  }

  /** What can be shown: an experiment, a data set and the metrics measured there. */
  function places() {
    const found = new Map();
    data.numbers.points.forEach((point) => {
      const of = data.numbers.records[point[0]];
      if (point[1] === null || !filters.keeps({ dataset: [of.dataset], metric: [point[1]] }, ["dataset", "metric"])) return;
      const name = `${of.experiment}/${of.dataset}`;
      if (!found.has(name)) found.set(name, new Set());
      found.get(name).add(point[1]);
    });
    return found;
  }

  /** Fill a list of choices and return what is chosen. @param {HTMLSelectElement} select */
  function choose(select, values, wanted, fallback) {
    const chosen = values.includes(wanted) ? wanted : values.includes(fallback) ? fallback : values[0];
    select.replaceChildren(...values.map((value) => data.element("option", { value, selected: value === chosen }, value)));
    return chosen;
  }

  /** Draw what the address and the filters ask for. */
  function apply() {
    if (!visible) return;
    const found = places();
    if (!found.size) return clear("Nothing to plot for these filters.");
    const [rivalry] = data.all.rivalries;
    const first = rivalry && `${rivalry.experiment}/${rivalry.dataset}`;
    const place = choose(form.elements.plot, [...found.keys()], address.get("plot"), first);
    const experiment = place.slice(0, place.indexOf("/"));
    const dataset = place.slice(place.indexOf("/") + 1);
    const metric = choose(form.elements.quality, [...found.get(place)], address.get("quality"), data.all.headlines[experiment]);
    const shown = series(experiment, dataset, metric);
    if (!shown.size) return clear("Nothing to plot for these filters.");
    const all = [...shown.values()].flat();
    const log = all.every((p) => p.mean > 0);
    quality("nfe", "NFE", metric, log, shown, (p) => p.of.nfe);
    quality("sample", "milliseconds a sample", metric, log, shown, (p) => 1000 * p.of.cost[1]);
    training(metric, log, shown);
    total(experiment, dataset);
    table(all, metric);
  }

  function clear(said) {
    words.textContent = said;
    points.replaceChildren();
    document.querySelectorAll(".plot").forEach((plot) => { if (plot.data) Plotly.purge(plot); });
  }

  /** One line a method, error bars over seeds. */
  function line(label, own, x, more = {}) {
    const { color, symbol, title } = axes.look(label);
    const trained = own.some((p) => p.of.cost[0] > 0);
    return {
      x: own.map(x), y: own.map((p) => p.mean), name: data.escape(title), customdata: own.map((p) => p.key),
      error_y: { type: "data", array: own.map((p) => p.sd ?? 0), thickness: 1.2, width: 3, color },
      mode: trained ? "markers" : "lines+markers", type: "scatter", line: { color, width: 1.6 },
      marker: { color, symbol, size: trained ? 12 : 8 },
      text: own.map((p) => `NFE ${p.of.nfe}`), hovertemplate: "%{fullData.name}, %{text}<br>%{y:.4g} at %{x:.4g}<extra></extra>",
      ...more,
    };
  }

  /** Quality against something that is positive. */
  function quality(name, title, metric, log, shown, x) {
    const traces = [...shown].map(([label, own]) => line(label, own.filter((p) => x(p) > 0).sort((a, b) => a.of.nfe - b.of.nfe), x)).filter((t) => t.x.length);
    const range = traces.flatMap((t) => t.x);
    const floor = [...shown.values()].flat().find((p) => p.floor !== null);
    if (floor && (!log || floor.floor > 0) && range.length) {
      traces.push({ x: [Math.min(...range), Math.max(...range)], y: [floor.floor, floor.floor], mode: "lines", name: "draws of the target",
        line: { color: theme.colour("--plot-ink"), width: 1, dash: "dot" }, hoverinfo: "skip" });
    }
    const look = axes.layout(title, data.escape(metric), log);
    if (name === "nfe") axes.ticks(look.xaxis, range);
    draw(name, traces, look);
  }

  /** Quality against training; what learns nothing is a line at its best. */
  function training(metric, log, shown) {
    const trained = [...shown].map(([label, own]) => [label, own.filter((p) => p.of.cost[0] > 0)]).filter(([, own]) => own.length);
    const range = trained.flatMap(([, own]) => own.map((p) => p.of.cost[0]));
    const ends = range.length ? [0.7 * Math.min(...range), 1.4 * Math.max(...range)] : [1, 10];
    const others = [...shown].filter(([, own]) => own.every((p) => p.of.cost[0] === 0)).map(([label, own]) => {
      const best = own.reduce((a, b) => (b.mean < a.mean ? b : a));
      const { color, title } = axes.look(label);
      return { x: ends, y: [best.mean, best.mean], mode: "lines", line: { color, width: 1.2, dash: "dash" }, customdata: [best.key, best.key],
        name: `${data.escape(title)}, smallest, no training`, hovertemplate: `%{fullData.name}: %{y:.4g} at NFE ${best.of.nfe}<extra></extra>` };
    });
    const traces = trained.map(([label, own]) => line(label, own, (p) => p.of.cost[0]));
    draw("training", [...traces, ...others], axes.layout("seconds of one training", data.escape(metric), log));
  }

  /** Training and drawing together against the number of samples: HSIVI-SM and what rivals need for its quality. */
  function total(experiment, dataset) {
    const here = data.all.rivalries.filter((r) => r.experiment === experiment && r.dataset === dataset &&
      filters.keeps({ method: [r.label, r.rival], nfe: [String(r.nfe)] }, ["method", "nfe"]));
    const counts = Array.from({ length: 36 }, (_, i) => 10 ** (i / 5));
    const done = new Set();
    const traces = [];
    const add = (label, nfe, [fixed, each], dash) => {
      if (done.has(`${label} ${nfe}`)) return;
      done.add(`${label} ${nfe}`);
      const { color, title } = axes.look(label);
      traces.push({ x: counts, y: counts.map((n) => fixed + n * each), mode: "lines", name: `${data.escape(title)}, NFE ${nfe}`,
        line: { color, dash, width: dash === "solid" ? 2.2 : 1.4 }, hovertemplate: "%{fullData.name}<br>%{x:.3g} samples: %{y:.3g} s<extra></extra>" });
    };
    here.forEach((r) => add(r.label, r.nfe, r.cost, r.nfe === here[0].nfe ? "solid" : "longdash"));
    here.filter((r) => r.rivalCost).forEach((r) => add(r.rival, r.rivalNfe, r.rivalCost, "dot"));
    const met = here.filter((r) => r.samples > 0);
    if (met.length) {
      traces.push({ x: met.map((r) => r.samples), y: met.map((r) => r.cost[0] + r.samples * r.cost[1]), mode: "markers", name: "break-even",
        marker: { symbol: "circle-open", size: 12, color: theme.colour("--plot-ink"), line: { width: 2 } },
        text: met.map((r) => `${data.escape(axes.look(r.label).title)} T = ${r.nfe} and ${data.escape(axes.look(r.rival).title)} NFE ${r.rivalNfe}`),
        hovertemplate: "%{text}<br>%{x:,.0f} samples<extra></extra>" });
    }
    draw("total", traces, axes.layout("samples", "seconds, training included", true));
    words.textContent = sentence(here);
  }

  /** What the plot of total times says. @param {Object[]} here */
  function sentence(here) {
    if (!here.length) return "There is no HSIVI-SM with rivals among what is shown, so there is no break-even.";
    const parts = here.map((r) => {
      const rival = axes.look(r.rival).title;
      const said = r.rivalCost === null ? `${rival} does not reach its quality with any budget that was run`
        : r.samples === null ? `never against ${rival} with NFE ${r.rivalNfe}, which is as fast`
        : `after ${Math.round(r.samples).toLocaleString("en")} samples against ${rival} with NFE ${r.rivalNfe}`;
      return `${axes.look(r.label).title}, T = ${r.nfe}: ${said}`;
    });
    return `Training pays off, at the metric of the break-even table: ${parts.join("; ")}.`;
  }

  /** @param {string} name @param {Object[]} traces @param {Object} layout */
  function draw(name, traces, layout) {
    const place = document.querySelector(`[data-plot="${name}"]`);
    if (!traces.length) {
      if (place.data) Plotly.purge(place);
      place.textContent = "Nothing to plot here.";
      return;
    }
    if (!place.data) place.textContent = "";
    Plotly.react(place, traces, layout, axes.CONFIG);
    if (!place.dataset.heard) {
      place.dataset.heard = "yes";
      place.on("plotly_click", (event) => {
        const key = event.points[0].customdata;
        if (key) number.open(key);
      });
    }
  }

  /** The same points for those who cannot point. @param {Object[]} all @param {string} metric */
  function table(all, metric) {
    const e = data.element;
    const head = ["method", "NFE", metric, "ms a sample", "training s"].map((name) => e("th", { scope: "col" }, name));
    const rows = all.map((p) => e("tr", {}, e("th", { scope: "row" }, p.of.title), e("td", {}, String(p.of.nfe)),
      e("td", {}, e("a", { className: "number", href: p.of.file, "data-keys": p.key }, `${p.mean.toPrecision(4)}${p.sd === null ? "" : ` ± ${p.sd.toPrecision(2)}`}`)),
      e("td", {}, (1000 * p.of.cost[1]).toPrecision(3)), e("td", {}, p.of.cost[0] ? p.of.cost[0].toPrecision(4) : "–")));
    points.replaceChildren(e("table", {}, e("thead", {}, e("tr", {}, ...head)), e("tbody", {}, ...rows)));
  }

  function start() {
    form.addEventListener("change", (event) => address.set(event.target.name === "plot" ? { plot: event.target.value, quality: null } : { quality: event.target.value }));
    theme.listen(apply);
    const watcher = new IntersectionObserver((entries) => {
      if (!entries.some((entry) => entry.isIntersecting)) return;
      watcher.disconnect();
      load();
      visible = true;
      apply();
    }, { rootMargin: "400px" });
    watcher.observe(document.getElementById("panels"));
  }

  return { start, apply };
})();
