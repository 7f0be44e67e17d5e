/** The order of cells: numbers by size whatever stands behind them, then words, and the en dash last either way. */
const sorting = (() => {
  const NUMBER = /^[+\-−]?\d[\d,]*(\.\d+)?(e[+-]?\d+)?/i;

  /** @param {string} shown a cell as HTML or text @returns {{number: ?number, text: string, empty: boolean}} */
  function parse(shown) {
    const text = String(shown ?? "").replace(/<[^>]*>/g, "").trim();
    const found = NUMBER.exec(text);
    const number = found ? Number(found[0].replaceAll(",", "").replace("−", "-")) : null;
    return { number, text, empty: text === "–" || text === "" };
  }

  /** @returns {number} */
  function compare(a, b, direction) {
    if (a.empty || b.empty) return Number(a.empty) - Number(b.empty);
    if ((a.number === null) !== (b.number === null)) return a.number === null ? 1 : -1;
    const order = a.number === null ? a.text.localeCompare(b.text) : a.number - b.number || a.text.localeCompare(b.text);
    return direction * order;
  }

  /** Teach the library of tables this order, under the name "measured". */
  function start() {
    DataTable.type("measured", {
      detect: () => false,
      order: { pre: parse, asc: (a, b) => compare(a, b, 1), desc: (a, b) => compare(a, b, -1) },
    });
  }

  return { start, parse, compare };
})();
