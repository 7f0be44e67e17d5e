/** Start everything, and keep the page as its address says. */
const start = (() => {
  document.documentElement.classList.add("js");

  /** Show what the address asks for. */
  function apply() {
    filters.read();
    tables.apply();
    document.getElementById("empty").hidden = claims.apply() + explorer.apply() > 0;
    plots.apply();
    number.apply();
  }

  /** Links to places of the page keep the filters: the place becomes one more value of the address. */
  function follow(event) {
    const link = event.target.closest('a[href^="#"]:not([data-keys])');
    if (!link || event.ctrlKey || event.metaKey || event.shiftKey) return;
    const id = link.getAttribute("href").slice(1);
    if (!document.getElementById(id)) return;
    event.preventDefault();
    address.set({ at: id === "top" ? null : id });
    go(id);
  }

  /** @param {string} id of a place */
  function go(id) {
    const place = document.getElementById(id);
    if (!place) return;
    place.scrollIntoView();
    const title = document.getElementById(`${id}-title`);
    if (title) title.focus({ preventScroll: true });
  }

  document.getElementById("contents").open = matchMedia("(min-width: 62rem)").matches;
  theme.start();
  download.start();
  sorting.start();
  filters.start();
  filters.read();
  claims.start();
  explorer.start();
  number.start();
  tables.start();
  plots.start();
  apply();
  address.listen(apply);
  document.addEventListener("click", follow);
  if (address.get("at")) go(address.get("at"));
  document.documentElement.dataset.ready = String(Math.round(performance.now()));
  return { apply };
})();
