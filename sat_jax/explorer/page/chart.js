// Series of numbers in, an SVG chart out.

import { drawn, element } from "./elements.js";
import { niceTicks } from "./canvas.js";

/**
 * @typedef {{name: string, x: number[], y: number[], low?: number[], high?: number[], look: string}} Series
 * @typedef {{x: number, y: number, text: string}} Mark
 * @typedef {{label: string, xLabel: string, yLabel: string, series: Series[], marks?: Mark[],
 *   across?: [number, string][], width?: number, height?: number}} Chart
 */

const BOX = { left: 46, right: 8, top: 8, bottom: 34 };

/**
 * Scales of a chart: values to places in a drawing of that size.
 * @param {[number, number]} xs
 * @param {[number, number]} ys
 * @param {number} width
 * @param {number} height
 */
export function scalesOf(xs, ys, width, height) {
  const along = (xs[1] - xs[0]) || 1;
  const up = (ys[1] - ys[0]) || 1;
  const [w, h] = [width - BOX.left - BOX.right, height - BOX.top - BOX.bottom];
  return {
    x: (/** @type {number} */ value) => BOX.left + ((value - xs[0]) / along) * w,
    y: (/** @type {number} */ value) => BOX.top + h - ((value - ys[0]) / up) * h,
    xValue: (/** @type {number} */ place) => xs[0] + ((place - BOX.left) / w) * along,
    yValue: (/** @type {number} */ place) => ys[0] + ((BOX.top + h - place) / h) * up,
  };
}

/**
 * Axes with ticks and their labels.
 * @param {[number, number]} xs
 * @param {[number, number]} ys
 * @param {{x: (value: number) => number, y: (value: number) => number}} scales
 * @param {number} width
 * @param {number} height
 * @param {string} xLabel
 * @param {string} yLabel
 */
export function axesOf(xs, ys, scales, width, height, xLabel, yLabel) {
  const bottom = height - BOX.bottom;
  const digits = (/** @type {number} */ value) => Number(value.toPrecision(6)).toString().replace("-", "\u2212");
  return drawn(
    "g",
    { class: "axes" },
    ...niceTicks(xs[0], xs[1], 5).map((value) => drawn("g", {},
      drawn("line", { x1: scales.x(value), x2: scales.x(value), y1: BOX.top, y2: bottom }),
      drawn("text", { x: scales.x(value), y: bottom + 12, "text-anchor": "middle" }, digits(value)))),
    ...niceTicks(ys[0], ys[1], 4).map((value) => drawn("g", {},
      drawn("line", { x1: BOX.left, x2: width - BOX.right, y1: scales.y(value), y2: scales.y(value) }),
      drawn("text", { x: BOX.left - 4, y: scales.y(value) + 3, "text-anchor": "end" }, digits(value)))),
    drawn("text", { x: (BOX.left + width - BOX.right) / 2, y: height - 6, "text-anchor": "middle" }, xLabel),
    drawn("text", {
      x: 0, y: 0, "text-anchor": "middle", transform: `translate(10 ${(BOX.top + bottom) / 2}) rotate(-90)`,
    }, yLabel),
  );
}

/**
 * A chart of lines with intervals, with marks and lines across.
 * @param {Chart} chart
 */
export function chartOf({ label, xLabel, yLabel, series, marks = [], across = [], width = 360, height = 200 }) {
  const all = (/** @type {(each: Series) => number[]} */ pick) => series.flatMap(pick).filter(Number.isFinite);
  const xs = rangeOf(all((each) => each.x));
  const ys = rangeOf([...all((each) => [...each.y, ...(each.low ?? []), ...(each.high ?? [])]), ...across.map(([y]) => y)]);
  const scales = scalesOf(xs, ys, width, height);
  const line = (/** @type {number[]} */ x, /** @type {number[]} */ y) =>
    x.map((each, i) => (Number.isFinite(y[i]) ? `${scales.x(each).toFixed(1)},${scales.y(y[i]).toFixed(1)}` : "")).join(" ");
  const figure = drawn(
    "svg",
    { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": label, class: "chart" },
    axesOf(xs, ys, scales, width, height, xLabel, yLabel),
    ...across.map(([y, text]) => drawn("g", { class: "across" },
      drawn("line", { x1: BOX.left, x2: width - BOX.right, y1: scales.y(y), y2: scales.y(y) }),
      drawn("text", { x: width - BOX.right, y: scales.y(y) - 3, "text-anchor": "end" }, text))),
    ...series.filter((each) => each.low && each.high).map((each) => {
      const { x, low = [], high = [] } = each;
      const back = x.map((_, i) => x.length - 1 - i);
      return drawn("polygon", {
        class: `band ${each.look}`,
        points: `${line(x, low)} ${line(back.map((i) => x[i]), back.map((i) => high[i]))}`,
      });
    }),
    ...series.map((each) => drawn("polyline", { class: `line ${each.look}`, points: line(each.x, each.y) })),
    ...marks.map(({ x, y, text }) => drawn("circle", { class: "mark", cx: scales.x(x), cy: scales.y(y), r: 4 },
      drawn("title", {}, text))),
  );
  const key = element("ul", { class: "key" }, ...series.map((each) =>
    element("li", { class: each.look }, each.name)));
  return element("figure", {}, element("figcaption", {}, label), figure, series.length > 1 ? key : null);
}

/**
 * A number with so many decimals and a minus sign of full width.
 * @param {number} value
 * @param {number} digits
 */
export function signed(value, digits) {
  return value.toFixed(digits).replace("-", "\u2212");
}

/**
 * Least and largest of numbers, with a little room.
 * @param {number[]} values
 * @returns {[number, number]}
 */
export function rangeOf(values) {
  if (!values.length) return [0, 1];
  const [low, high] = [values.reduce((a, b) => Math.min(a, b)), values.reduce((a, b) => Math.max(a, b))];
  const room = 0.04 * (high - low) || Math.abs(high) * 0.1 || 1;
  return [low - room, high + room];
}
