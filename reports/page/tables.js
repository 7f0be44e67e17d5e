/** Tables of the scripts: sorting when they come into view, and the rows and columns that a filter keeps. */
const tables = (() => {
  const shown = [...document.querySelectorAll("table[data-table], table[data-claims]")];
  const OPTIONS = {
    paging: false, info: false, searching: false, autoWidth: false, order: [], orderMulti: true,
    layout: { topStart: null, topEnd: null, bottomStart: null, bottomEnd: null },
    columnDefs: [{ targets: "_all", type: "measured" }],
    language: { zeroRecords: "no rows" },
  };

  /** Let a table be sorted.  @param {HTMLTableElement} table */
  function sortable(table) {
    if (!DataTable.isDataTable(table)) new DataTable(table, OPTIONS);
  }

  /** Do so before a table comes into view, which costs less than all at once. */
  function start() {
    const watcher = new IntersectionObserver((entries) => {
      for (const entry of entries.filter((e) => e.isIntersecting)) {
        watcher.unobserve(entry.target);
        sortable(entry.target);
      }
    }, { rootMargin: "600px" });
    shown.forEach((table) => watcher.observe(table));
  }

  /** Hide what the filters leave out. */
  function apply() {
    for (const table of shown.filter((t) => t.id !== "claims")) {
      const about = JSON.parse(table.dataset.columns || "[]");
      columns(table, about);
      const carried = new Set(about.flatMap((facets) => Object.keys(facets)));
      const names = ["dataset", "method", "nfe", "metric", "verdict"].filter((name) => !carried.has(name));
      rows(table, names);
    }
    for (const part of document.querySelectorAll("section.part")) {
      part.hidden = !filters.keeps({ dataset: JSON.parse(part.dataset.datasets) }, ["dataset"]);
    }
  }

  /** @param {HTMLTableElement} table @param {string[]} names of facets that rows carry */
  function rows(table, names) {
    const every = [...table.tBodies[0].rows].filter((row) => row.dataset.facets);
    let left = 0;
    for (const row of every) {
      row.hidden = !filters.keeps(JSON.parse(row.dataset.facets), names);
      left += row.hidden ? 0 : 1;
    }
    count(table, left, every.length);
  }

  /** Say how many rows are left. @param {HTMLTableElement} table */
  function count(table, left, all) {
    const name = table.dataset.table || table.dataset.claims;
    const place = document.querySelector(`[data-tools="${CSS.escape(name)}"] [data-count]`);
    if (place) place.textContent = left === all ? "" : `${left} of ${all} rows`;
  }

  /** @param {HTMLTableElement} table @param {import("./filters").Facets[]} about */
  function columns(table, about) {
    const kept = about.map((facets) => filters.keeps(facets, Object.keys(facets)));
    for (const cell of table.querySelectorAll("[data-column]")) cell.hidden = kept[Number(cell.dataset.column)] === false;
    for (const group of table.querySelectorAll("th[data-span]")) {
      const start = Number(group.dataset.start);
      const span = kept.slice(start, start + Number(group.dataset.span)).filter(Boolean).length;
      group.hidden = span === 0;
      group.colSpan = Math.max(span, 1);
    }
  }

  return { start, apply, count, sortable };
})();
