/**
 * The state of the page in its address, after the "#", so that a link shows the same view and the back button works.
 *
 * `#dataset=moons,rings&nfe=5&number=toy2d/moons/ddim/5/js_cell`; lists are separated by commas.  A bare `#table4` is an
 * ordinary link to a place of the page.
 */
const address = (() => {
  /** @type {(() => void)[]} */
  const listeners = [];

  /** @returns {URLSearchParams} */
  function read() {
    const text = location.hash.slice(1);
    return new URLSearchParams(text.includes("=") ? text : "");
  }

  /** @param {string} name @returns {string[]} */
  const list = (name) => (read().get(name) || "").split(",").filter(Boolean).map(decodeURIComponent);

  /** @param {string} name */
  const get = (name) => read().get(name);

  /** The address with some values replaced; null takes one away. @param {Object<string, ?string>} values */
  function href(values) {
    const now = read();
    for (const [name, value] of Object.entries(values)) {
      if (value === null || value === "") now.delete(name);
      else now.set(name, value);
    }
    const text = now.toString().replaceAll("%2F", "/").replaceAll("%2C", ",");
    return text ? `#${text}` : location.pathname + location.search;
  }

  /** Go to such an address.  @param {Object<string, ?string>} values @param {boolean} replace instead of a step back */
  function set(values, replace = false) {
    const wanted = href(values);
    if (wanted === location.hash || (!location.hash && !wanted.startsWith("#"))) return;
    history[replace ? "replaceState" : "pushState"](null, "", wanted);
    listeners.forEach((listener) => listener());
  }

  /** A list as text in which commas separate values only. @param {string[]} values */
  const join = (values) => values.map((value) => value.replaceAll("%", "%25").replaceAll(",", "%2C")).join(",");

  addEventListener("popstate", () => listeners.forEach((listener) => listener()));
  return { get, list, set, href, join, listen: (listener) => listeners.push(listener) };
})();
