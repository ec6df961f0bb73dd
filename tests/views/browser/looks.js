// What the tests ask of a page as it is shown.  Each function returns what is wrong, or what was measured.

const shown = (selector) => [...document.querySelectorAll(selector)].filter((e) => e.checkVisibility());
const told = (e) => e.outerHTML.slice(0, 120);

function channels(colour) {
  return colour.match(/[\d.]+/g).map(Number);
}

// Source: WCAG 2.1, relative luminance and contrast ratio.
function luminance(colour) {
  const [r, g, b] = channels(colour).map((v) => (v / 255 <= 0.03928 ? v / 255 / 12.92 : ((v / 255 + 0.055) / 1.055) ** 2.4));
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
}

function ground(element) {
  for (let e = element; e; e = e.parentElement) {
    const { backgroundColor } = getComputedStyle(e);
    if (channels(backgroundColor)[3] !== 0) return backgroundColor;
  }
  return "rgb(255, 255, 255)";
}

// Elements whose text is hard to tell from what it stands on.
function pale(least) {
  const withText = shown("body *").filter((e) => !e.disabled
    && [...e.childNodes].some((node) => node.nodeType === Node.TEXT_NODE && node.textContent.trim()));
  return withText.map((e) => {
    const [dark, light] = [luminance(getComputedStyle(e).color), luminance(ground(e))].sort((a, b) => a - b);
    return [(light + 0.05) / (dark + 0.05), told(e)];
  }).filter(([ratio]) => ratio < least);
}

// Elements that stick out of the window, but for what scrolls in a box of its own.
function outside() {
  return shown("button, input, select, textarea, h2, h3, canvas").filter((e) => {
    const { left, right } = e.getBoundingClientRect();
    return !e.closest(".scroll") && (left < 0 || right > innerWidth + 0.5);
  }).map(told);
}

function controls() {
  return shown('button, input, select, textarea, a, [tabindex="0"]').filter((e) => !e.disabled);
}

// Controls that a screen reader has no name for.
function unnamed() {
  return controls().filter((e) => !(e.labels?.length || e.textContent.trim() || e.getAttribute("aria-label"))).map(told);
}

// Milliseconds from each of 25 keystrokes until every picture shows it.
async function keystrokes(text) {
  const field = document.getElementById("text"), pane = document.querySelector(".pane");
  const frame = () => new Promise((next) => requestAnimationFrame(next));
  const times = [];
  for (let k = 0; k < 25; k++) {
    field.value = text.slice(0, 180 + (k % 21));
    await frame();
    const begin = performance.now();
    field.dispatchEvent(new Event("input"));
    while (pane.dataset.shown !== field.value || pane.dataset.gradients !== field.value) await frame();
    times.push(performance.now() - begin);
  }
  return times;
}
