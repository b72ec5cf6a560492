// Codes of probabilities in, pixels and legends out.

import { page, PROBS } from "./data.js";

const MAGMA = tableOf(page.colours.sequential);
const DIVERGING = tableOf(page.colours.diverging);
const GREATEST = 5;
const FAINT = 70;

/**
 * Colours for a map: what each code becomes, and what the legend says.
 * @typedef {{lookup: Uint32Array, ticks: [number, string][], title: string}} Colours
 */

/**
 * Colours of 256 steps from six hexadecimal digits each, as (r, g, b).
 * @param {string} text
 */
function tableOf(text) {
  return Uint8Array.from({ length: 768 }, (_, i) => parseInt(text.slice(2 * i, 2 * i + 2), 16));
}

/**
 * @param {Uint8Array} table
 * @param {number} share 0 to 1 along the table
 */
function packed(table, share) {
  const at = 3 * Math.max(0, Math.min(255, Math.round(255 * share)));
  // Little endian, as every browser's machine is: alpha, blue, green, red.
  return ((255 << 24) | (table[at + 2] << 16) | (table[at + 1] << 8) | table[at]) >>> 0;
}

/**
 * A CSS colour along the sequential table.
 * @param {number} share 0 to 1
 */
export function sequential(share) {
  const at = 3 * Math.max(0, Math.min(255, Math.round(255 * share)));
  return `rgb(${MAGMA[at]} ${MAGMA[at + 1]} ${MAGMA[at + 2]})`;
}

/**
 * A CSS colour along the diverging table.
 * @param {number} share 0 to 1, 0.5 is the middle
 */
export function diverging(share) {
  const at = 3 * Math.max(0, Math.min(255, Math.round(255 * share)));
  return `rgb(${DIVERGING[at]} ${DIVERGING[at + 1]} ${DIVERGING[at + 2]})`;
}

/**
 * Colours for a map with a largest code, of so many positions.
 * @param {"log" | "linear" | "uniform"} scale
 * @param {number} largest code
 * @param {number} positions
 * @param {number} threshold probability below which nothing is drawn
 * @returns {Colours}
 */
export function coloursOf(scale, largest, positions, threshold) {
  const top = PROBS[largest] || 1;
  const low = Math.min(0.01 / positions, top / 10);
  /** @type {(p: number) => number} */
  let share = (p) => Math.log(p / low) / Math.log(top / low);
  let table = MAGMA;
  let title = "attention, log scale";
  let marks = [low, Math.sqrt(low * top), top];
  let text = probability;
  if (scale === "linear") {
    share = (p) => p / top;
    title = "attention";
    marks = [0, top / 2, top];
  } else if (scale === "uniform") {
    share = (p) => (Math.log2(p * positions) + GREATEST) / (2 * GREATEST);
    table = DIVERGING;
    title = "times uniform attention";
    marks = [-GREATEST, 0, GREATEST].map((power) => 2 ** power / positions);
    text = (p) => times(p * positions);
  }
  const nothing = scale === "uniform" ? packed(table, 0) : packed(MAGMA, 0);
  const lookup = Uint32Array.from({ length: 256 }, (_, code) => {
    const p = PROBS[code];
    if (threshold > 0 && p < threshold) return 0;
    return p === 0 ? nothing : packed(table, share(p));
  });
  return { lookup, title, ticks: marks.map((p) => [scale === "linear" ? p / top : share(p), text(p)]) };
}

/**
 * Pixels of codes; those further from the diagonal than the span are dimmed.
 * @param {Uint8Array} codes (side, side)
 * @param {number} side
 * @param {Uint32Array} lookup
 * @param {number | null} span in pixels
 */
export function pixelsOf(codes, side, lookup, span) {
  const image = new ImageData(side, side);
  const pixels = new Uint32Array(image.data.buffer);
  for (let i = 0; i < codes.length; i++) pixels[i] = lookup[codes[i]];
  if (span !== null) dim(image, side, span);
  return image;
}

/**
 * Pixels of the difference of two maps, and the largest difference, at which colours end.
 * @param {Float32Array} difference (side, side)
 * @param {number} side
 * @param {number} threshold
 * @param {number | null} span
 * @returns {{image: ImageData, colours: Colours}}
 */
export function differencePixels(difference, side, threshold, span) {
  let largest = 1e-12;
  for (const each of difference) largest = Math.max(largest, Math.abs(each));
  const image = new ImageData(side, side);
  const pixels = new Uint32Array(image.data.buffer);
  for (let i = 0; i < difference.length; i++) {
    // The square root: small differences are many.
    const share = Math.sign(difference[i]) * Math.sqrt(Math.abs(difference[i]) / largest);
    pixels[i] = Math.abs(difference[i]) < threshold ? 0 : packed(DIVERGING, (share + 1) / 2);
  }
  if (span !== null) dim(image, side, span);
  /** @type {[number, string][]} */
  const ticks = [
    [0, `\u2212${probability(largest)}`],
    [0.5, "0"],
    [1, `+${probability(largest)}`],
  ];
  const colours = { lookup: DIVERGING_LOOKUP, title: "difference, square-root scale", ticks };
  return { image, colours };
}

const DIVERGING_LOOKUP = Uint32Array.from({ length: 256 }, (_, i) => packed(DIVERGING, i / 255));

/**
 * @param {ImageData} image
 * @param {number} side
 * @param {number} span
 */
function dim(image, side, span) {
  for (let t = 0; t < side; t++) {
    for (let s = 0; s < side; s++) {
      if (Math.abs(t - s) > span) {
        const at = 4 * (t * side + s) + 3;
        image.data[at] = Math.min(image.data[at], FAINT);
      }
    }
  }
}

/**
 * The colours of a legend from its lowest to its highest value, as CSS colours.
 * @param {"log" | "linear" | "uniform" | "difference"} scale
 */
export function legendColour(scale) {
  return scale === "uniform" || scale === "difference" ? diverging : sequential;
}

/**
 * A probability in few digits.
 * @param {number} p
 */
export function probability(p) {
  if (p === 0) return "0";
  return p >= 0.001 ? Number(p.toPrecision(3)).toString() : p.toExponential(1).replace("-", "\u2212");
}

/**
 * A multiple of uniform attention.
 * @param {number} ratio
 */
export function times(ratio) {
  return `${Number(ratio.toPrecision(2))}\u00d7`;
}
