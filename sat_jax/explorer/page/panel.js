// One head in, its map out: at full size, with waveform, spectrogram and phones along both axes.

import { edge, mapOf, mapsOf, page } from "./data.js";
import { element, fill } from "./elements.js";
import { coloursOf, differencePixels, legendColour, pixelsOf } from "./colours.js";
import {
  canvasOf,
  cleared,
  drawLegend,
  drawPhones,
  drawSpectrogram,
  drawTimes,
  drawWave,
  ink,
  spectrogramCanvas,
} from "./canvas.js";
import { RATE, soundOf } from "./player.js";
import { rowOf, showRow, strongest } from "./row.js";
import { difference } from "./difference.js";
import { nameOf, state } from "./state.js";

/**
 * @typedef {import("./state.js").Place} Place
 * @typedef {import("./data.js").DecodedMap} DecodedMap
 * @typedef {import("./colours.js").Colours} Colours
 */

export const LEFT = 62;
export const TOP = 100;
const WAVE = 26;
const PHONES = 18;
const TIMES = 16;
const MOST_SIZE = 640;

/**
 * What a panel shows; `map` is null where there is nothing to draw.
 * @typedef {object} Panel
 * @property {Place} place
 * @property {HTMLElement} node
 * @property {HTMLElement} title
 * @property {HTMLCanvasElement} strips waveform, spectrogram and phones of keys
 * @property {HTMLCanvasElement} side spectrogram and phones of queries
 * @property {HTMLCanvasElement} canvas the map
 * @property {HTMLCanvasElement} over what moves above it
 * @property {HTMLCanvasElement} legend
 * @property {HTMLElement} row
 * @property {DecodedMap | null} map
 * @property {HTMLCanvasElement | null} picture
 * @property {number} factor positions that a pixel of the picture averages
 * @property {Colours | null} colours
 * @property {number} size of the map in CSS pixels
 * @property {number | null} heard seconds that are played
 */

/**
 * A panel without a head as yet.
 * @returns {Panel}
 */
export function makePanel() {
  const canvas = element("canvas", {
    class: "map", tabindex: 0, role: "application", "aria-roledescription": "attention map",
  });
  const parts = {
    title: element("h2"),
    strips: element("canvas", { class: "strips", "aria-hidden": "true" }),
    side: element("canvas", { class: "side", "aria-hidden": "true" }),
    over: element("canvas", { class: "over", "aria-hidden": "true" }),
    legend: element("canvas", { class: "legend", "aria-hidden": "true" }),
    row: element("div", { class: "row" }),
  };
  const frame = element("div", { class: "frame" }, parts.strips, parts.side, canvas, parts.over);
  const node = element("article", { class: "panel" }, parts.title, frame, parts.legend, parts.row);
  const place = { model: 0, layer: 0, head: 0 };
  return { place, node, canvas, ...parts, map: null, picture: null, factor: 1, colours: null, size: 0, heard: null };
}

/**
 * Have a panel show a head; its canvases stay, which is what makes going from head to head quick.
 * @param {Panel} panel
 * @param {Place} place
 * @param {(() => void) | null} close null for the only panel
 */
export function turnTo(panel, place, close) {
  const model = page.models[place.model];
  const name = `${nameOf(place)} of ${model.name}`;
  const kind = model.category[place.layer][place.head];
  panel.place = place;
  panel.node.setAttribute("aria-label", name);
  panel.canvas.setAttribute(
    "aria-label",
    `Map of ${name}. Arrows move the query and the key, Enter plays both, plus and minus zoom.`,
  );
  const closer = close && element("button", { click: close, title: `Close ${name}` }, "Close");
  fill(panel.title, element("span", { class: `kind ${kind}` }, kind), ` ${name}`, closer);
}

/**
 * First and last query and key that are seen, in positions.
 * @param {Panel} panel
 * @returns {[number, number, number, number]}
 */
export function viewOf(panel) {
  const total = panel.map?.positions ?? 1;
  if (!state.view) return [0, total, 0, total];
  const model = page.models[panel.place.model];
  const at = state.view.map((seconds) => (seconds - model.start) / model.seconds + 0.5);
  return /** @type {[number, number, number, number]} */ (
    at.map((each) => Math.max(0, Math.min(total, each)))
  );
}

/**
 * Decode what the panel shows and draw all of it.
 * @param {Panel} panel
 */
export async function loadPanel(panel) {
  const { place } = panel;
  const model = page.models[place.model];
  const maps = mapsOf(place.model, state.utterance);
  const index = place.layer * model.heads + place.head;
  const map = maps ? await mapOf(maps, index) : null;
  const other = state.minus === null || state.minus === place.model ? null : await otherMap(place);
  if (panel.place !== place) return;
  panel.map = map;
  if (!map) {
    fill(panel.row, element("p", {}, maps ? "This head is pruned." : "The page has no maps of this model on this utterance."));
    for (const canvas of [panel.canvas, panel.over, panel.strips, panel.side]) cleared(canvas, 1, 1);
    return;
  }
  paintMap(panel, map, other);
  await drawPanel(panel);
}

/**
 * The map of the same head in the model that is subtracted, where both have the same positions.
 * @param {Place} place
 */
async function otherMap(place) {
  const model = page.models[/** @type {number} */ (state.minus)];
  const maps = mapsOf(/** @type {number} */ (state.minus), state.utterance);
  const mine = mapsOf(place.model, state.utterance);
  if (!maps || !mine || maps.positions !== mine.positions) return null;
  if (place.layer >= model.layers || place.head >= model.heads) return null;
  return mapOf(maps, place.layer * model.heads + place.head);
}

/**
 * @param {Panel} panel
 * @param {DecodedMap} map
 * @param {DecodedMap | null} other
 */
function paintMap(panel, map, other) {
  const pixels = (/** @type {number} */ factor) => (state.span === null ? null : state.span / factor);
  if (other) {
    const apart = difference(map, other);
    const { image, colours } = differencePixels(apart.values, apart.side, state.threshold, pixels(apart.factor));
    panel.picture = canvasOf(image);
    panel.colours = colours;
    panel.factor = apart.factor;
    return;
  }
  panel.factor = map.factor;
  const largest = map.codes.reduce((a, b) => Math.max(a, b), 0);
  panel.colours = coloursOf(state.scale, largest, map.positions, state.threshold);
  panel.picture = canvasOf(pixelsOf(map.codes, map.side, panel.colours.lookup, pixels(map.factor)));
}

/**
 * Draw the panel as it stands, at the width that it has.
 * @param {Panel} panel
 */
export async function drawPanel(panel) {
  const { map, picture, colours } = panel;
  if (!map || !picture || !colours) return;
  const utterance = page.utterances[state.utterance];
  const [spectrogram, sound] = await Promise.all([spectrogramCanvas(utterance), soundOf(utterance)]);
  const model = page.models[panel.place.model];
  const size = Math.max(160, Math.min(MOST_SIZE, panel.node.clientWidth - LEFT - 2));
  panel.size = size;
  const [t0, t1, s0, s1] = viewOf(panel);
  const times = [t0, t1, s0, s1].map((each) => edge(model, each));

  const strips = cleared(panel.strips, LEFT + size, TOP);
  const box = (/** @type {number} */ y, /** @type {number} */ height) => ({ x: LEFT, y, width: size, height });
  const mel = TOP - WAVE - PHONES - TIMES;
  drawTimes(strips, box(0, TIMES), times[2], times[3]);
  drawWave(strips, sound.getChannelData(0), RATE, box(TIMES, WAVE), times[2], times[3]);
  drawSpectrogram(strips, spectrogram, utterance, box(TIMES + WAVE, mel), times[2], times[3]);
  drawPhones(strips, utterance, box(TOP - PHONES, PHONES), times[2], times[3]);

  // Queries run down: the same strips, turned by a quarter.
  const side = cleared(panel.side, LEFT, size);
  side.transform(0, 1, -1, 0, LEFT, 0);
  const length = { x: 0, width: size };
  drawSpectrogram(side, spectrogram, utterance, { ...length, y: PHONES, height: LEFT - PHONES - 4 }, times[0], times[1]);
  drawPhones(side, utterance, { ...length, y: 0, height: PHONES }, times[0], times[1]);

  const context = cleared(panel.canvas, size, size);
  context.fillStyle = ink("card");
  context.fillRect(0, 0, size, size);
  const pixel = (/** @type {number} */ position) => position / panel.factor;
  context.drawImage(picture, pixel(s0), pixel(t0), pixel(s1) - pixel(s0), pixel(t1) - pixel(t0), 0, 0, size, size);
  const legend = state.minus !== null && colours.title.startsWith("difference") ? "difference" : state.scale;
  drawLegend(panel.legend, Math.min(size, 320), colours.ticks, colours.title, legendColour(legend));
  drawOver(panel);
}

/**
 * Draw what moves: the query, its row over the spectrogram, its strongest keys, boundaries, sound.
 * @param {Panel} panel
 */
export function drawOver(panel) {
  const { map, size } = panel;
  if (!map) return;
  const model = page.models[panel.place.model];
  const utterance = page.utterances[state.utterance];
  const [t0, t1, s0, s1] = viewOf(panel);
  const x = (/** @type {number} */ position) => ((position - s0) / (s1 - s0)) * size + LEFT;
  const y = (/** @type {number} */ position) => ((position - t0) / (t1 - t0)) * size + TOP;
  const context = cleared(panel.over, LEFT + size, TOP + size);
  const positionOf = (/** @type {number} */ seconds) => (seconds - model.start) / model.seconds + 0.5;
  const found = mapsOf(panel.place.model, state.utterance)?.boundaries;
  if (state.boundaries && found) {
    context.fillStyle = ink("accent");
    context.globalAlpha = 0.5;
    const mine = found[panel.place.layer][panel.place.head] ?? [];
    for (const seconds of mine) {
      const at = positionOf(seconds);
      if (at > s0 && at < s1) context.fillRect(x(at), TOP - 6, 1.5, size + 6);
      if (at > t0 && at < t1) context.fillRect(LEFT - 6, y(at), 6, 1.5);
    }
    context.globalAlpha = 1;
  }
  if (panel.heard !== null) {
    const at = positionOf(panel.heard);
    context.fillStyle = ink("accent");
    if (at >= s0 && at <= s1) context.fillRect(x(at), TIMES, 2, TOP + size);
    if (at >= t0 && at <= t1) context.fillRect(0, y(at), LEFT + size, 2);
  }
  const { query, key } = state;
  if (query !== null && query < map.positions) {
    const row = rowOf(map, query);
    context.strokeStyle = context.fillStyle = ink("point");
    const line = Math.floor(query / map.factor) * map.factor;
    if (line + map.factor > t0 && line < t1) {
      context.strokeRect(LEFT, y(line), size, Math.max(1, y(line + map.factor) - y(line)));
    }
    if (key !== null && key < map.positions) context.strokeRect(x(key), TOP, Math.max(1, x(key + 1) - x(key)), size);
    drawRow(context, row, map.factor, x, s0, s1);
  }
  showRow(panel.row, model, utterance, map, query, key);
}

/**
 * @param {CanvasRenderingContext2D} context
 * @param {Float64Array} row
 * @param {number} factor
 * @param {(position: number) => number} x
 * @param {number} s0
 * @param {number} s1
 */
function drawRow(context, row, factor, x, s0, s1) {
  const top = row.reduce((a, b) => Math.max(a, b), 1e-12);
  const [base, height] = [TOP - PHONES, TOP - PHONES - TIMES - WAVE];
  context.save();
  context.beginPath();
  context.rect(x(s0), 0, x(s1) - x(s0), TOP);
  context.clip();
  context.lineWidth = 2;
  context.beginPath();
  row.forEach((p, pixel) => {
    const level = base - (p / top) * height;
    context.lineTo(x(pixel * factor), level);
    context.lineTo(x((pixel + 1) * factor), level);
  });
  context.stroke();
  for (const { key, p } of strongest(row)) {
    if (p === 0) continue;
    const middle = x((key + 0.5) * factor);
    context.beginPath();
    context.arc(middle, base - (p / top) * height, 3.5, 0, 7);
    context.fill();
  }
  context.restore();
}
