/** How plots look: axes, colours of the theme, and the sign of each method, as in every figure. */
const axes = (() => {
  /** @param {string} label @returns {{color: string, symbol: string, title: string}} */
  function look(label) {
    const method = data.methods.get(label);
    return { color: method[theme.dark() ? "dark" : "light"], symbol: method.symbol, title: method.title };
  }

  /** @param {string} x @param {string} y @param {boolean} log whether values allow a logarithmic axis */
  function layout(x, y, log) {
    const ink = theme.colour("--plot-ink");
    const line = theme.colour("--plot-line");
    const axis = { gridcolor: line, linecolor: line, zeroline: false, automargin: true, exponentformat: "power" };
    return {
      autosize: true, height: 380, margin: { l: 56, r: 12, t: 8, b: 44 },
      paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)",
      font: { family: "system-ui, sans-serif", size: 12, color: ink },
      xaxis: { ...axis, type: "log", title: { text: x, standoff: 6 } },
      yaxis: { ...axis, type: log ? "log" : "linear", title: { text: y, standoff: 6 } },
      legend: { orientation: "h", y: -0.22, yanchor: "top", font: { size: 11 } },
      hoverlabel: { align: "left" }, hovermode: "closest", dragmode: "pan",
    };
  }

  /** Put a tick at each of some values. @param {Object} axis @param {number[]} values */
  function ticks(axis, values) {
    const own = [...new Set(values)].sort((a, b) => a - b);
    Object.assign(axis, { tickmode: "array", tickvals: own, ticktext: own.map(String) });
  }

  /** What readers may do with a plot; nothing leaves the page. */
  const CONFIG = { responsive: true, displaylogo: false, scrollZoom: false, showTips: false,
    modeBarButtonsToRemove: ["select2d", "lasso2d", "sendDataToCloud", "autoScale2d"] };

  return { look, layout, ticks, CONFIG };
})();
