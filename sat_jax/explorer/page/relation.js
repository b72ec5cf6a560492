// A phone relation map in, a picture of it to point at out.

import { relationOf } from "./data.js";
import { element, fill } from "./elements.js";
import { cleared, drawLegend, ink } from "./canvas.js";
import { diverging } from "./colours.js";

/** @typedef {import("./data.js").Model} Model */

const MOST_SIDE = 400;
const LABELS = 26;
const POWERS = 3;

let elsewhere = false;

/**
 * Show a head's relation map: how much more or less than uniform attention a query phone (rows)
 * gives to a key phone (columns).
 * @param {HTMLElement} node
 * @param {Model} model
 * @param {number} index of the head among all heads
 * @param {() => boolean} current whether this head is still the one to show
 */
export async function showRelation(node, model, index, current) {
  const { relation } = model;
  if (!relation) return fill(node);
  const values = await relationOf(relation);
  if (!current()) return;
  const count = relation.phones.length;
  const size = count * count;
  const heads = values.length / (2 * size);
  const first = (index + (elsewhere ? heads : 0)) * size;
  const cells = values.subarray(first, first + size);
  const told = element("p", { class: "soft", "aria-live": "polite" },
    "Point at a cell, or move with the arrows: query phone (row), key phone (column).");
  const canvas = element("canvas", {
    tabindex: 0, role: "application", "aria-roledescription": "phone relation map", class: "relation",
    "aria-label": "Phone relation map. Arrows move from phone to phone.",
  });
  const legend = element("canvas", { "aria-hidden": "true" });
  const box = element("input", {
    type: "checkbox", checked: elsewhere,
    change: () => {
      elsewhere = box.checked;
      void showRelation(node, model, index, current);
    },
  });
  fill(
    node,
    element("h3", {}, "Phone relation map"),
    element("label", { class: "choice" }, box, " without keys in the query's own phone segment"),
    canvas,
    legend,
    told,
  );
  const marks = /** @type {[number, string][]} */ ([[0, `${2 ** -POWERS}\u00d7`], [0.5, "1\u00d7"], [1, `${2 ** POWERS}\u00d7`]]);
  drawLegend(legend, 200, marks, "times uniform attention, log scale", diverging);
  const side = Math.min(MOST_SIDE, Math.max(220, node.clientWidth - 8));
  drawCells(canvas, cells, relation.phones, side, null);
  /** @type {[number, number]} */
  let at = [0, 0];
  const point = (/** @type {number} */ row, /** @type {number} */ column) => {
    at = [Math.max(0, Math.min(count - 1, row)), Math.max(0, Math.min(count - 1, column))];
    drawCells(canvas, cells, relation.phones, side, at);
    told.textContent = cellText(relation.phones, cells, at);
  };
  canvas.addEventListener("pointermove", (event) => {
    const cell = (side - LABELS) / count;
    point(Math.floor((event.offsetY - LABELS) / cell), Math.floor((event.offsetX - LABELS) / cell));
  });
  canvas.addEventListener("keydown", (event) => {
    /** @type {Record<string, [number, number]>} */
    const moves = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] };
    const move = moves[event.key];
    if (!move) return;
    event.preventDefault();
    point(at[0] + move[0], at[1] + move[1]);
  });
}

/**
 * What a cell says, in words.
 * @param {string[]} phones
 * @param {Float32Array} cells
 * @param {[number, number]} at
 */
function cellText(phones, cells, [row, column]) {
  const value = cells[row * phones.length + column];
  const pair = `${phones[row]} to ${phones[column]}`;
  if (Number.isNaN(value)) return `${pair}: no utterance has both`;
  return `${pair}: ${(1 + value).toFixed(2)} times uniform attention`;
}

/**
 * Where a relation stands among the colours: a power of two of uniform attention.
 * @param {number} value
 */
function shareOf(value) {
  return 0.5 + Math.max(-POWERS, Math.min(POWERS, Math.log2(Math.max(1 + value, 1e-6)))) / (2 * POWERS);
}

/**
 * @param {HTMLCanvasElement} canvas
 * @param {Float32Array} cells
 * @param {string[]} phones
 * @param {number} side
 * @param {[number, number] | null} at
 */
function drawCells(canvas, cells, phones, side, at) {
  const context = cleared(canvas, side, side);
  const count = phones.length;
  const cell = (side - LABELS) / count;
  for (let row = 0; row < count; row++) {
    for (let column = 0; column < count; column++) {
      const value = cells[row * count + column];
      context.fillStyle = Number.isNaN(value) ? ink("card") : diverging(shareOf(value));
      context.fillRect(LABELS + column * cell, LABELS + row * cell, cell + 0.5, cell + 0.5);
    }
  }
  context.fillStyle = ink("ink");
  context.font = `${Math.max(7, Math.min(10, cell))}px system-ui, sans-serif`;
  context.textBaseline = "middle";
  phones.forEach((phone, i) => {
    const middle = LABELS + (i + 0.5) * cell;
    context.textAlign = "right";
    context.fillText(phone, LABELS - 3, middle);
    context.save();
    context.translate(middle, LABELS - 3);
    context.rotate(-Math.PI / 2);
    context.textAlign = "left";
    context.fillText(phone, 0, 0);
    context.restore();
  });
  if (!at) return;
  context.strokeStyle = ink("point");
  context.lineWidth = 2;
  context.strokeRect(LABELS + at[1] * cell, LABELS + at[0] * cell, cell, cell);
}
