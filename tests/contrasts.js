/**
 * The first words of a page whose contrast with what is behind them is below 4.5 (Web Content Accessibility Guidelines
 * 2.1, 1.4.3), at most eight; of elements that look alike the first three are looked at.
 */
() => {
  const canvas = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
  const known = new Map();
  const read = (colour) => { canvas.clearRect(0, 0, 1, 1); canvas.fillStyle = colour; canvas.fillRect(0, 0, 1, 1);
    return [...canvas.getImageData(0, 0, 1, 1).data]; };
  const rgb = (colour) => { if (!known.has(colour)) known.set(colour, read(colour)); return [...known.get(colour)]; };
  const light = ([r, g, b]) => [r, g, b].map((c) => c / 255).map((c) => c <= .04045 ? c / 12.92 : ((c + .055) / 1.055) ** 2.4)
    .reduce((sum, c, i) => sum + c * [.2126, .7152, .0722][i], 0);
  const behind = (e) => { for (; e; e = e.parentElement) { const c = rgb(getComputedStyle(e).backgroundColor); if (c[3] === 255) return c; }
    return rgb(getComputedStyle(document.body).backgroundColor); };
  const over = (front, back) => front.map((c, i) => i < 3 ? c * front[3] / 255 + back[i] * (1 - front[3] / 255) : 255);
  const low = new Set();
  const seen = new Map();
  for (const e of document.querySelectorAll("main *, .bar *, nav *")) {
    const kind = [e, e.parentElement, e.parentElement.parentElement].map((x) => x.tagName + x.className).join(" ");
    seen.set(kind, (seen.get(kind) || 0) + 1);
    if (seen.get(kind) > 3) continue;
    const own = [...e.childNodes].some((n) => n.nodeType === 3 && n.textContent.trim());
    if (!own || e.closest("[hidden], .disabled, svg, noscript") || !e.getClientRects().length) continue;
    let faint = 1;
    for (let p = e; p; p = p.parentElement) faint *= Number(getComputedStyle(p).opacity);
    const back = behind(e), colour = rgb(getComputedStyle(e).color);
    colour[3] *= faint;
    const [a, b] = [light(over(colour, back)), light(back)].sort((x, y) => y - x);
    if ((a + .05) / (b + .05) < 4.5) low.add(e.tagName + "." + e.className + " " + e.textContent.trim().slice(0, 20));
  }
  return [...low].slice(0, 8);
}
