/** Texts as files and on the clipboard, without a server. */
const download = (() => {
  const TYPES = { csv: "text/csv", tex: "application/x-tex" };

  /** @param {string} name of the file @param {"csv"|"tex"} ending @param {string} text */
  function save(name, ending, text) {
    const url = URL.createObjectURL(new Blob([text], { type: `${TYPES[ending]};charset=utf-8` }));
    data.element("a", { href: url, download: `${name}.${ending}` }).click();
    setTimeout(() => URL.revokeObjectURL(url), 1000);
  }

  /** A button that copies a text. @param {string} text @param {string} what for those who do not see it */
  function copier(text, what) {
    const button = data.element("button", { type: "button", className: "copy", "aria-label": `Copy ${what}` }, "Copy");
    button.addEventListener("click", async () => {
      button.textContent = (await copied(text)) ? "Copied" : "Press Ctrl+C";
      setTimeout(() => (button.textContent = "Copy"), 1500);
    });
    return button;
  }

  /** @param {string} text @returns {Promise<boolean>} */
  async function copied(text) {
    try {
      await navigator.clipboard.writeText(text);
      return true;
    } catch {
      return false;
    }
  }

  /** Make the buttons under tables work: they save the whole table. */
  function start() {
    document.addEventListener("click", (event) => {
      const button = event.target.closest("button[data-download][data-name]");
      if (!button) return;
      const ending = button.dataset.download;
      save(button.dataset.name, ending, data.all.files[button.dataset.name][ending]);
    });
  }

  return { start, save, copier };
})();
