"""Colours of methods on the page: those of the figures, and in dark mode lighter ones where they would not be seen."""

import colorsys

from reports import _style

DARK_PAPER = "#0d1117"
LIGHT_PAPER = "#ffffff"
CONTRAST = 3.0
"""Least contrast of a sign with what is behind it (Web Content Accessibility Guidelines 2.1, 1.4.11)."""
SYMBOLS = {
    "*": "star",
    "o": "circle",
    "s": "square",
    "^": "triangle-up",
    "D": "diamond",
    "d": "diamond-tall",
    "v": "triangle-down",
    "<": "triangle-left",
    ">": "triangle-right",
    "P": "cross",
    "X": "x",
}
"""The plotting library's names of Matplotlib's markers."""


def look(label: str) -> dict[str, str]:
    """Return a method's colours in light and dark mode, and its symbol."""
    own = _style.colour(label)
    return {"light": own, "dark": visible(own, DARK_PAPER), "symbol": SYMBOLS[_style.marker(label)]}


def visible(colour: str, paper: str) -> str:
    """Return a colour, made lighter until its contrast with dark paper is `CONTRAST`."""
    hue, lightness, saturation = colorsys.rgb_to_hls(*_channels(colour))
    while contrast(colour, paper) < CONTRAST and lightness < 1:
        lightness = min(1.0, lightness + 0.02)
        rgb = colorsys.hls_to_rgb(hue, lightness, saturation)
        colour = "#" + "".join(f"{round(255 * channel):02x}" for channel in rgb)
    return colour


def contrast(first: str, second: str) -> float:
    """Return the contrast of two colours, from 1 to 21 (Web Content Accessibility Guidelines 2.1)."""
    light, dark = sorted((_luminance(first), _luminance(second)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def _luminance(colour: str) -> float:
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in _channels(colour)]
    return sum(weight * c for weight, c in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


def _channels(colour: str) -> tuple[float, float, float]:
    red, green, blue = (int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5))
    return red, green, blue
