// Colours that keep apart for every kind of colour vision: those of views/colours.py, and variants for the dark theme.

const VIRIDIS = ["#440154", "#482878", "#3e4989", "#31688e", "#26828e", "#1f9e89", "#35b779", "#6ece58", "#b5de2b", "#fde725"];
const PUOR = {
  light: ["#7f3b08", "#b35806", "#e08214", "#fdb863", "#fee0b6", "#f7f7f7", "#d8daeb", "#b2abd2", "#8073ac", "#542788", "#2d004b"],
  dark: ["#ffe0b0", "#fdb863", "#e08214", "#a4580a", "#5a340d", "#20242b", "#3d3264", "#6a57a5", "#9788cc", "#bcb2e4", "#e4dffa"],
};
const SURPRISE = {
  light: ["#ffffff", "#fdf0d5", "#fbd9a0", "#f6b56a", "#e98a3c", "#cf5f1a", "#a83c0b"],
  dark: ["#191c22", "#33291b", "#573a17", "#834e14", "#b5681a", "#e48a33", "#ffc27a"],
};
const HUES = {
  light: ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#b07800", "#333333"],
  dark: ["#56b4e9", "#ff8a3d", "#2ecc9a", "#e79bc4", "#f0c74a", "#e6e6e6"],
};
export const DASHES = [[], [7, 3], [2, 3], [9, 3, 2, 3], [4, 4], [1, 4]];

const root = document.documentElement;
const prefersDark = matchMedia("(prefers-color-scheme: dark)");

export const theme = () => root.dataset.theme ?? (prefersDark.matches ? "dark" : "light");
export const lineColours = () => HUES[theme()];

// A colour of the style sheet as a canvas takes it; light-dark() is resolved only in a property that is in use.
export function ink(name) {
  root.style.setProperty("outline-color", `var(--${name})`);
  const { outlineColor } = getComputedStyle(root);
  root.style.removeProperty("outline-color");
  return outlineColor;
}

export function onThemeChange(redraw) {
  prefersDark.addEventListener("change", redraw);
  new MutationObserver(redraw).observe(root, { attributeFilter: ["data-theme"] });
}

const channels = (hex) => [1, 3, 5].map((k) => parseInt(hex.slice(k, k + 2), 16));

function ramp(anchors) {
  const points = anchors.map(channels);
  return Array.from({ length: 256 }, (_, step) => {
    const along = (step / 255) * (points.length - 1);
    const k = Math.min(Math.floor(along), points.length - 2);
    return points[k].map((low, c) => Math.round(low + (along - k) * (points[k + 1][c] - low)));
  });
}

const made = new Map();
function once(key, make) {
  if (!made.has(key)) made.set(key, make());
  return made.get(key);
}

// 256 colours [r, g, b] for values from low to high.
export function scale(low) {
  return low < 0 ? once(`signed ${theme()}`, () => ramp(PUOR[theme()])) : once("above", () => ramp(VIRIDIS));
}

export function surprise() {
  return once(`surprise ${theme()}`, () => ramp(SURPRISE[theme()]));
}

const EVEN = Math.sqrt(1.05 * 0.05) - 0.05; // the luminance on which black and white stand out alike
const linear = (v) => (v <= 10 ? v / 255 / 12.92 : ((v / 255 + 0.055) / 1.055) ** 2.4);

// Give an element a background, and black or white text, whichever stands out more by WCAG's contrast ratio.
export function paint(element, [r, g, b]) {
  const luminance = 0.2126 * linear(r) + 0.7152 * linear(g) + 0.0722 * linear(b);
  element.style.backgroundColor = `rgb(${r} ${g} ${b})`;
  element.style.color = luminance > EVEN ? "#000" : "#fff";
}

export function paintLegend(legend, colours, low, high) {
  const [left, bar, right] = legend.children;
  left.textContent = low;
  right.textContent = high;
  const stops = Array.from({ length: 9 }, (_, k) => `rgb(${colours[Math.round((k / 8) * 255)].join(" ")})`);
  bar.style.background = `linear-gradient(to right, ${stops.join(", ")})`;
}
