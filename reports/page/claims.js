/** The claims: how many have each verdict, and the rows that a filter keeps. */
const claims = (() => {
  const table = document.getElementById("claims");
  const NAMES = ["dataset", "method", "nfe", "metric", "verdict"];

  /** The claims that the filters keep, whatever their verdict counts in the numbers above. @returns {number} */
  function apply() {
    const every = [...table.tBodies[0].rows].filter((row) => row.dataset.facets);
    /** @type {Object<string, number>} */
    const counts = {};
    let left = 0;
    for (const row of every) {
      const facets = JSON.parse(row.dataset.facets);
      const others = filters.keeps(facets, NAMES.slice(0, 4)) && filters.says(row.textContent);
      if (others) counts[facets.verdict[0]] = (counts[facets.verdict[0]] || 0) + 1;
      row.hidden = !others || !filters.keeps(facets, ["verdict"]);
      left += row.hidden ? 0 : 1;
    }
    document.querySelectorAll("button[data-verdict]").forEach((button) => {
      button.querySelector("b").textContent = counts[button.dataset.verdict] || 0;
      button.setAttribute("aria-pressed", String(filters.chosen("verdict").has(button.dataset.verdict)));
    });
    tables.count(table, left, every.length);
    return left;
  }

  function start() {
    document.querySelectorAll("button[data-verdict]").forEach((button) =>
      button.addEventListener("click", () => filters.toggle("verdict", button.dataset.verdict)));
  }

  return { start, apply };
})();
