/** Dark and light: what the system says, unless a reader has said otherwise. */
const theme = (() => {
  const NAME = "hsivi-theme";
  const root = document.documentElement;
  const system = matchMedia("(prefers-color-scheme: dark)");
  /** @type {(() => void)[]} */
  const listeners = [];

  const stored = () => { try { return localStorage.getItem(NAME); } catch { return null; } };
  const dark = () => (root.dataset.theme || (system.matches ? "dark" : "light")) === "dark";

  /** The colour of a custom property in the present theme. @param {string} name */
  const colour = (name) => getComputedStyle(root).getPropertyValue(name).trim();

  function apply() {
    document.getElementById("theme").setAttribute("aria-pressed", String(dark()));
    root.dataset.dark = String(dark());
    document.querySelectorAll(".dot[data-method]").forEach((dot) => {
      const method = data.methods.get(dot.dataset.method);
      if (method) dot.style.background = method[dark() ? "dark" : "light"];
    });
    listeners.forEach((listener) => listener());
  }

  function start() {
    if (stored()) root.dataset.theme = stored();
    document.getElementById("theme").addEventListener("click", () => {
      root.dataset.theme = dark() ? "light" : "dark";
      try { localStorage.setItem(NAME, root.dataset.theme); } catch { /* a private window keeps nothing */ }
      apply();
    });
    system.addEventListener("change", apply);
    apply();
  }

  return { start, dark, colour, listen: (listener) => listeners.push(listener) };
})();
