/** The list of all numbers: thousands of rows, of which the page holds only those on view. */
const explorer = (() => {
  const MEAN = 5;
  const place = document.getElementById("explorer");
  let table = null;
  /** @type {number[]} */
  let kept = [];

  /** The facets and text of a row. @param {number} i */
  function keeps(i) {
    const of = data.numbers.records[data.numbers.points[i][0]];
    const metric = data.numbers.points[i][1];
    const facets = { dataset: [of.dataset], method: [of.label], nfe: [String(of.nfe)], metric: metric ? [metric] : ["–"] };
    return filters.keeps(facets, Object.keys(facets)) && filters.says(data.numbers.rows[i].join(" ") + " " + of.label);
  }

  /** A cell as HTML: the mean leads to the number, a method has its colour. */
  function shown(text, type, row, meta) {
    if (type !== "display") return text;
    const i = row[row.length - 1];
    const of = data.numbers.records[data.numbers.points[i][0]];
    if (meta.col === MEAN) {
      const key = data.escape(data.key(data.numbers.points[i]));
      return `<a class="number" href="${data.escape(of.file)}" data-keys="${key}">${data.escape(text)}</a>`;
    }
    if (meta.col === 2) {
      const look = data.methods.get(of.label);
      return `<i class="dot" style="background:${look[theme.dark() ? "dark" : "light"]}"></i>${data.escape(text)}`;
    }
    return data.escape(text);
  }

  function start() {
    const head = data.element("tr", {}, ...data.numbers.header.map((name) => data.element("th", { scope: "col" }, name)));
    const own = data.element("table", { id: "explorer-table" }, data.element("thead", {}, head));
    const tools = data.element("p", { className: "tools" },
      saver("CSV", "csv"), saver("LaTeX", "tex"), data.element("span", { className: "soft", id: "explorer-count" }));
    place.append(data.element("div", { className: "scroll", tabIndex: 0, role: "region", "aria-label": "All numbers" }, own), tools);
    table = new DataTable(own, {
      data: [], autoWidth: false, deferRender: true, order: [], pageLength: 25, lengthMenu: [25, 100, 500],
      searching: false, columns: data.numbers.header.map(() => ({ type: "measured", render: shown })),
      language: { zeroRecords: "No number matches the filters.", emptyTable: "No number matches the filters.", info: "_START_ to _END_ of _TOTAL_", infoEmpty: "", lengthMenu: "Rows _MENU_" },
      layout: { topStart: "info", topEnd: "pageLength", bottomStart: null, bottomEnd: "paging" },
    });
    theme.listen(() => table.rows().invalidate().draw(false));
  }

  /** A button that saves the rows that the filters keep, in the order on view. */
  function saver(word, ending) {
    const button = data.element("button", { type: "button", "data-explorer": ending }, word);
    button.addEventListener("click", () => download.save("numbers", ending, text(ending)));
    return button;
  }

  /** The rows on view as a file.  @param {"csv"|"tex"} ending */
  function text(ending) {
    const order = table.rows({ order: "applied" }).data().toArray().map((row) => row[row.length - 1]);
    const { csv, tex } = data.numbers;
    const lines = ending === "csv" ? [csv[0], ...order.map((i) => csv[i + 1])] : [...tex.head, ...order.map((i) => tex.rows[i]), ...tex.foot];
    return lines.join("\n") + "\n";
  }

  /** Show the rows that the filters keep. @returns {number} */
  function apply() {
    kept = data.numbers.rows.map((_, i) => i).filter(keeps);
    table.clear().rows.add(kept.map((i) => [...data.numbers.rows[i], i])).draw();
    const all = data.numbers.rows.length;
    document.getElementById("explorer-count").textContent = kept.length === all ? `${all} rows` : `${kept.length} of ${all} rows`;
    return kept.length;
  }

  return { start, apply, text };
})();
