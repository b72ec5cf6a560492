// What is seen in, a file of it out: a picture, a drawing, or its numbers.

import { edge, page, phoneAt, PROBS } from "./data.js";
import { LEFT, TOP, viewOf } from "./panel.js";
import { middleOf } from "./row.js";
import { nameOf, state } from "./state.js";

/**
 * @typedef {import("./panel.js").Panel} Panel
 * @typedef {import("./data.js").Utterance} Utterance
 */

const GAP = 24;
const TITLE = 22;
const LEGEND = 50;

/**
 * Offer a file of the panels.
 * @param {string} kind PNG, SVG or CSV
 * @param {Panel[]} panels
 * @param {Utterance} utterance
 */
export async function save(kind, panels, utterance) {
  const stem = `${panels.map((each) => nameOf(each.place)).join(" ")} ${utterance.id}`
    .replace(/[^\w.-]+/g, "_");
  if (kind === "CSV") return offer(`${stem}.csv`, new Blob([mapTable(panels, utterance)], { type: "text/csv" }));
  const drawing = drawingOf(panels, utterance);
  if (kind === "SVG") return offer(`${stem}.svg`, new Blob([drawing.text], { type: "image/svg+xml" }));
  const image = new Image();
  image.src = URL.createObjectURL(new Blob([drawing.text], { type: "image/svg+xml" }));
  await image.decode();
  URL.revokeObjectURL(image.src);
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [2 * drawing.width, 2 * drawing.height];
  const context = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d"));
  context.scale(2, 2);
  context.drawImage(image, 0, 0);
  canvas.toBlob((blob) => blob && offer(`${stem}.png`, blob));
}

/**
 * The panels side by side as an SVG: text as text, maps and spectrograms as pixels.
 * @param {Panel[]} panels
 * @param {Utterance} utterance
 */
function drawingOf(panels, utterance) {
  const shown = panels.filter((each) => each.map && each.size);
  const widths = shown.map((each) => LEFT + each.size + GAP);
  const width = Math.max(1, widths.reduce((a, b) => a + b, 0));
  const height = TITLE + TOP + Math.max(0, ...shown.map((each) => each.size)) + LEGEND;
  let x = 0;
  const parts = shown.map((panel, index) => {
    const title = `${nameOf(panel.place)} of ${page.models[panel.place.model].name}, ${utterance.id}`;
    const left = x;
    x += widths[index];
    return [
      `<g transform="translate(${left} 0)">`,
      `<text x="0" y="15" font-size="13">${escaped(title)}`, end("text"),
      picture(panel.strips, 0, TITLE, LEFT + panel.size, TOP),
      picture(panel.side, 0, TITLE + TOP, LEFT, panel.size),
      picture(panel.canvas, LEFT, TITLE + TOP, panel.size, panel.size),
      picture(panel.over, 0, TITLE, LEFT + panel.size, TOP + panel.size),
      picture(panel.legend, LEFT, TITLE + TOP + panel.size + 6, panel.legend.clientWidth, 42),
      phoneTexts(panel, utterance),
      end("g"),
    ].join("");
  });
  const text = [
    `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}" `,
    `viewBox="0 0 ${width} ${height}" font-family="system-ui, sans-serif">`,
    '<rect width="100%" height="100%" fill="white"/>',
    ...parts,
    end("svg"),
  ].join("");
  return { text, width, height };
}

/**
 * Labels of the phones along the keys once more as text, invisible over their pixels, so that a
 * drawing program finds them.
 * @param {Panel} panel
 * @param {Utterance} utterance
 */
function phoneTexts(panel, utterance) {
  const model = page.models[panel.place.model];
  const [, , s0, s1] = viewOf(panel);
  const [from, to] = [edge(model, s0), edge(model, s1)];
  return utterance.phones
    .filter((each) => each.end > from && each.start < to)
    .map((each) => {
      const x = LEFT + (((each.start + each.end) / 2 - from) / (to - from)) * panel.size;
      return `<text x="${x.toFixed(1)}" y="${TITLE + TOP - 5}" font-size="11" text-anchor="middle" opacity="0">`
        + escaped(each.label) + end("text");
    })
    .join("");
}

/**
 * @param {HTMLCanvasElement} canvas
 * @param {number} x
 * @param {number} y
 * @param {number} width
 * @param {number} height
 */
function picture(canvas, x, y, width, height) {
  return `<image x="${x}" y="${y}" width="${width}" height="${height}" image-rendering="pixelated" `
    + `href="${canvas.toDataURL("image/png")}"/>`;
}

/**
 * The pixels that are seen, as CSV: one row each.
 * @param {Panel[]} panels
 * @param {Utterance} utterance
 */
function mapTable(panels, utterance) {
  const rows = ["model,layer,head,utterance,query_seconds,query_phone,key_seconds,key_phone,attention"];
  for (const panel of panels) {
    const { map, place } = panel;
    if (!map) continue;
    const model = page.models[place.model];
    const [t0, t1, s0, s1] = viewOf(panel).map((each) => each / map.factor);
    for (let t = Math.floor(t0); t < Math.min(Math.ceil(t1), map.side); t++) {
      for (let s = Math.floor(s0); s < Math.min(Math.ceil(s1), map.side); s++) {
        const [query, key] = [middleOf(model, map, t), middleOf(model, map, s)];
        const cells = [
          cell(model.name), place.layer + 1, place.head + 1, cell(utterance.id),
          query.toFixed(4), cell(phoneAt(utterance, query)), key.toFixed(4), cell(phoneAt(utterance, key)),
          PROBS[map.codes[t * map.side + s]].toPrecision(4),
        ];
        rows.push(cells.join(","));
      }
    }
  }
  return `${rows.join("\n")}\n`;
}

/** Metrics of all heads of the model that is seen, as CSV. */
export function metricTable() {
  const model = page.models[state.model];
  const names = model.metrics.flatMap(({ name }) => [name, `${name}_low`, `${name}_high`]);
  const rows = [["layer", "head", "category", ...names].join(",")];
  for (const [layer, kinds] of model.category.entries()) {
    for (const [head, kind] of kinds.entries()) {
      const numbers = model.metrics.flatMap((each) =>
        [each.values, each.low, each.high].map((table) => table[layer][head] ?? ""));
      rows.push([layer + 1, head + 1, kind, ...numbers].join(","));
    }
  }
  return `${rows.join("\n")}\n`;
}

/**
 * Have the browser save a file.
 * @param {string} name
 * @param {Blob} blob
 */
export function offer(name, blob) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10000);
}

/**
 * A cell of a CSV; one that a spreadsheet would take for a formula is text.
 * @param {string} text
 */
export function cell(text) {
  const safe = /^[=+\-@\t\r]/.test(text) ? `'${text}` : text;
  return /[",\n]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe;
}

/** @param {string} text */
function escaped(text) {
  return text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");
}

/** @param {string} tag */
function end(tag) {
  return `<${"/"}${tag}>`;
}
