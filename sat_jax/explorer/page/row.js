// A decoded map and a query in, its row and its strongest keys out.

import { edge, phoneAt, PROBS } from "./data.js";
import { element, fill } from "./elements.js";
import { probability, times } from "./colours.js";

/**
 * @typedef {import("./data.js").DecodedMap} DecodedMap
 * @typedef {import("./data.js").Model} Model
 * @typedef {import("./data.js").Utterance} Utterance
 */

const STRONGEST = 5;

/**
 * Row of a pixel's query: one probability for every pixel along keys.
 * @param {DecodedMap} map
 * @param {number} query position
 */
export function rowOf(map, query) {
  const line = Math.min(map.side - 1, Math.floor(query / map.factor));
  return Float64Array.from(
    map.codes.subarray(line * map.side, (line + 1) * map.side),
    (code) => PROBS[code],
  );
}

/**
 * The pixels of a row with the largest probabilities, the largest first; of equals the earlier.
 * @param {ArrayLike<number>} row
 */
export function strongest(row) {
  /** @type {{p: number, key: number}[]} */
  const found = [];
  for (let key = 0; key < row.length; key++) {
    const p = row[key];
    if (found.length === STRONGEST && p <= found[STRONGEST - 1].p) continue;
    const place = found.findIndex((each) => p > each.p);
    found.splice(place < 0 ? found.length : place, 0, { p, key });
    if (found.length > STRONGEST) found.pop();
  }
  return found;
}

/**
 * Time in seconds in the middle of a pixel.
 * @param {Model} model
 * @param {DecodedMap} map
 * @param {number} pixel
 */
export function middleOf(model, map, pixel) {
  const first = pixel * map.factor;
  const last = Math.min(first + map.factor, map.positions);
  return (edge(model, first) + edge(model, last)) / 2;
}

/**
 * A phone and its time, as text.
 * @param {Utterance} utterance
 * @param {number} seconds
 */
function momentText(utterance, seconds) {
  const phone = phoneAt(utterance, seconds);
  return `${phone ? `${phone} ` : ""}${seconds.toFixed(2)} s`;
}

/**
 * What a query attends to, in one sentence for a screen reader.
 * @param {Model} model
 * @param {Utterance} utterance
 * @param {DecodedMap} map
 * @param {number} query
 */
export function rowText(model, utterance, map, query) {
  const keys = strongest(rowOf(map, query)).map(
    ({ p, key }) => `${momentText(utterance, middleOf(model, map, key))} ${probability(p)}`,
  );
  const pixel = Math.floor(query / map.factor);
  return `query ${momentText(utterance, middleOf(model, map, pixel))}; keys ${keys.join(", ")}`;
}

/**
 * Show the query that is pointed at, and its five strongest keys.
 * @param {Element} node
 * @param {Model} model
 * @param {Utterance} utterance
 * @param {DecodedMap} map
 * @param {number | null} query
 * @param {number | null} key
 */
export function showRow(node, model, utterance, map, query, key) {
  if (query === null) {
    fill(
      node,
      element("p", { class: "soft" }, "Point at the map: the query's row appears over the spectrogram. ",
        "A click plays 200 ms around the query, then around the key; the wheel zooms; dragging moves. ",
        "Drag over the waveform to play that part."),
    );
    return;
  }
  const row = rowOf(map, query);
  const uniform = 1 / map.positions;
  const at = (/** @type {number} */ pixel) => momentText(utterance, middleOf(model, map, pixel));
  const pixel = Math.min(map.side - 1, Math.floor(query / map.factor));
  const column = key === null ? null : Math.min(map.side - 1, Math.floor(key / map.factor));
  const pointed = column === null ? "" : `, key ${at(column)}: ${probability(row[column])}`;
  const cells = strongest(row).map(({ p, key: each }) =>
    element("tr", { "data-key": each }, element("td", {}, at(each)), element("td", {}, probability(p)),
      element("td", {}, times(p / uniform))),
  );
  const head = element("tr", {}, ...["key", "attention", "\u00d7 uniform"].map((text) =>
    element("th", { scope: "col" }, text)));
  fill(
    node,
    element("p", { class: "pointed" }, `query ${at(pixel)}${pointed}`),
    element("table", { class: "keys" }, element("caption", {}, "Strongest keys"),
      element("thead", {}, head), element("tbody", {}, ...cells)),
  );
}
