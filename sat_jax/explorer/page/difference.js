// Two maps of the same positions in, one minus the other out.

import { PROBS } from "./data.js";

/** @typedef {import("./data.js").DecodedMap} DecodedMap */

/**
 * A map minus another, at pixels of which both maps hold whole ones.
 * @param {DecodedMap} map
 * @param {DecodedMap} other
 * @returns {{values: Float32Array, side: number, factor: number}}
 */
export function difference(map, other) {
  const factor = multiple(map.factor, other.factor);
  const [a, b] = [coarser(map, factor), coarser(other, factor)];
  return { values: a.map((each, i) => each - b[i]), side: Math.ceil(map.positions / factor), factor };
}

/**
 * Least common multiple.
 * @param {number} a
 * @param {number} b
 */
function multiple(a, b) {
  let found = a;
  while (found % b) found += a;
  return found;
}

/**
 * Means over blocks of `factor` positions of a map whose pixels divide them.
 * @param {DecodedMap} map
 * @param {number} factor
 */
function coarser(map, factor) {
  const side = Math.ceil(map.positions / factor);
  const sums = new Float32Array(side * side);
  const counts = new Float32Array(side * side);
  const width = (/** @type {number} */ pixel) =>
    Math.min(map.factor, map.positions - pixel * map.factor);
  for (let t = 0; t < map.side; t++) {
    for (let s = 0; s < map.side; s++) {
      const at = Math.floor((t * map.factor) / factor) * side + Math.floor((s * map.factor) / factor);
      const weight = width(t) * width(s);
      sums[at] += PROBS[map.codes[t * map.side + s]] * weight;
      counts[at] += weight;
    }
  }
  return sums.map((sum, i) => sum / counts[i]);
}
