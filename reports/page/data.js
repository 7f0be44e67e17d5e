/**
 * What Python embedded in the page, and how to look things up in it.
 *
 * @typedef {{experiment: string, dataset: string, label: string, title: string, nfe: number, trainings: ?number,
 *   time_grid: ?string, levels: number[], protocol: string, status: string, reason: ?string, config: Object,
 *   seconds: Object<string, number>, device: string, dtype: string, commit: string, digests: Object<string, string>,
 *   command: string, cost: [number, number], values: Object<string, Array>, file: string, logs: [string, string][],
 *   environment: number}} CellRecord
 * @typedef {[number, ?string, ?number, ?number, ?number, ?number]} Point
 *   Number of a record, metric, mean, standard deviation, standard error, floor.
 */
const data = (() => {
  const all = JSON.parse(document.getElementById("data").textContent);
  const numbers = all.numbers;
  /** @type {Map<string, number>} row of the explorer by key */
  const rows = new Map();
  numbers.points.forEach((point, i) => rows.set(key(point), i));
  const methods = new Map(all.choices.method.map((method) => [method.value, method]));

  /** The key of a number, as on the command line. @param {Point} point */
  function key(point) {
    const of = numbers.records[point[0]];
    return [of.experiment, of.dataset, of.label, of.nfe, point[1] ?? "–"].join("/");
  }

  /** Text that is safe inside HTML. @param {unknown} text */
  function escape(text) {
    const signs = { "&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "'": "&#39;" };
    return String(text).replace(/[&<>"']/g, (sign) => signs[sign]);
  }

  /** A new element. @param {string} tag @param {Object} properties @param {(Node|string)[]} children */
  function element(tag, properties = {}, ...children) {
    const made = document.createElement(tag);
    for (const [name, value] of Object.entries(properties)) {
      if (name in made && name !== "role") made[name] = value;
      else made.setAttribute(name, value);
    }
    made.append(...children);
    return made;
  }

  return { all, numbers, rows, methods, key, escape, element };
})();
