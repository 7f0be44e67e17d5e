/**
 * The filters of the whole page: what is chosen of each facet, and a text.
 *
 * @typedef {Object<string, string[]>} Facets what a row or column is about; a facet that is not named means everything
 */
const filters = (() => {
  const NAMES = ["dataset", "method", "nfe", "metric", "verdict"];
  const form = document.getElementById("filters");
  const find = document.getElementById("find");
  const clearer = document.getElementById("clear");
  /** @type {Object<string, Set<string>>} */
  let chosen = {};
  let text = "";

  /** Take what is chosen from the address. */
  function read() {
    chosen = Object.fromEntries(NAMES.map((name) => [name, new Set(address.list(name))]));
    text = address.get("q") || "";
    if (find.value !== text) find.value = text;
    form.querySelectorAll("input[type=checkbox]").forEach((box) => (box.checked = chosen[box.name].has(box.value)));
    form.querySelectorAll("details").forEach((facet) => {
      const count = chosen[facet.dataset.facet].size;
      facet.querySelector("[data-chosen]").textContent = count ? ` ${count}` : "";
      facet.classList.toggle("on", count > 0);
    });
    clearer.hidden = !any();
  }

  const any = () => Boolean(text) || NAMES.some((name) => chosen[name].size);

  /** Whether something about these facets is shown. @param {Facets} facets @param {string[]} names */
  const keeps = (facets, names = NAMES) =>
    names.every((name) => {
      const own = facets[name];
      return !chosen[name].size || !own || !own.length || own.some((value) => chosen[name].has(value));
    });

  /** Whether a text contains every word that is looked for. @param {string} shown */
  function says(shown) {
    const low = shown.toLowerCase();
    return text.toLowerCase().split(/\s+/).every((word) => low.includes(word));
  }

  /** Choose or drop one value. @param {string} name @param {string} value */
  function toggle(name, value) {
    const now = new Set(chosen[name]);
    if (!now.delete(value)) now.add(value);
    address.set({ [name]: address.join([...now]) });
  }

  const clear = () => address.set(Object.fromEntries([...NAMES, "q"].map((name) => [name, null])));

  /** Make the form work. */
  function start() {
    form.addEventListener("submit", (event) => event.preventDefault());
    form.addEventListener("change", (event) => {
      if (event.target.type === "checkbox") toggle(event.target.name, event.target.value);
    });
    let waiting = 0;
    find.addEventListener("input", () => {
      clearTimeout(waiting);
      waiting = setTimeout(() => address.set({ q: find.value.trim() }, Boolean(text)), 150);
    });
    clearer.addEventListener("click", () => { clear(); find.focus(); });
    document.querySelectorAll("[data-clear]").forEach((button) => button.addEventListener("click", clear));
    document.addEventListener("click", (event) => closeOthers(event.target));
    document.addEventListener("focusin", (event) => closeOthers(event.target));
    document.addEventListener("keydown", keys);
  }

  /** Close the open lists that a click or the focus has left. @param {EventTarget} target */
  function closeOthers(target) {
    form.querySelectorAll("details[open]").forEach((facet) => { if (!facet.contains(target)) facet.open = false; });
  }

  /** @param {KeyboardEvent} event */
  function keys(event) {
    const typing = event.target.closest("input:not([type=checkbox]), select, textarea");
    if (event.key === "/" && !typing && !document.querySelector("dialog[open]")) {
      event.preventDefault();
      find.focus();
    }
    const open = event.key === "Escape" && event.target.closest("details.facet[open]");
    if (open) {
      open.open = false;
      open.querySelector("summary").focus();
    }
  }

  return { start, read, keeps, says, any, toggle, clear, chosen: (name) => chosen[name] };
})();
