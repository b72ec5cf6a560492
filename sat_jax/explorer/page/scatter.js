// Two metrics of all heads in, a plot to choose heads from out: by a click, or by drawing a box.

import { page } from "./data.js";
import { choice, drawn, element, fill } from "./elements.js";
import { axesOf, rangeOf, scalesOf } from "./chart.js";
import { nameOf, state, update } from "./state.js";

/** @typedef {import("./state.js").Place} Place */

const [WIDTH, HEIGHT] = [380, 260];

/**
 * Draw the plot into a node.
 * @param {HTMLElement} node
 * @param {(place: Place, beside: boolean) => void} choose
 */
export function showScatter(node, choose) {
  const model = page.models[state.model];
  const focused = document.activeElement?.getAttribute("data-control");
  const axes = state.axes.map((name) => model.metrics.find((each) => each.name === name) ?? model.metrics[0]);
  const heads = pointsOf(axes.map((each) => each.values));
  const ranges = [0, 1].map((axis) => rangeOf(heads.map((each) => each.at[axis])));
  const scales = scalesOf(ranges[0], ranges[1], WIDTH, HEIGHT);
  const box = drawn("rect", { class: "brush", ...boxOf(scales) });
  const plot = drawn(
    "svg",
    {
      viewBox: `0 0 ${WIDTH} ${HEIGHT}`, class: "chart brushing", role: "img",
      "aria-label": `${axes[1].label} against ${axes[0].label} of every head; the numbers below choose a range`,
    },
    axesOf(ranges[0], ranges[1], scales, WIDTH, HEIGHT, axes[0].label, axes[1].label),
    ...heads.map(({ place, kind, at }) => drawn("path", {
      class: `point ${kind}`,
      "data-point": nameOf(place),
      d: shapeOf(kind),
      transform: `translate(${scales.x(at[0]).toFixed(1)} ${scales.y(at[1]).toFixed(1)})`,
      click: (/** @type {MouseEvent} */ event) => choose(place, event.shiftKey),
    }, drawn("title", {}, `${nameOf(place)}, ${kind}`))),
    box,
  );
  brushWith(plot, box, scales);
  markPoints(plot);
  const names = model.metrics.map((each) => /** @type {[string, string]} */ ([each.name, each.name]));
  const axisChoice = (/** @type {0 | 1} */ axis, /** @type {string} */ label) =>
    choice(label, names, axes[axis].name, (name) => {
      const changed = /** @type {[string, string]} */ ([...state.axes]);
      changed[axis] = name;
      update({ axes: changed, brush: null });
    }, { "data-control": `axis${axis}` });
  fill(
    node,
    element("div", { class: "controls" }, axisChoice(0, "x axis"), axisChoice(1, "y axis")),
    plot,
    element("div", { class: "ranges" }, ...rangeInputs(axes.map((each) => each.name), ranges)),
  );
  if (focused) {
    const again = node.querySelector(`[data-control="${focused}"]`);
    if (again instanceof HTMLElement) again.focus();
  }
}

/**
 * Show which heads are drawn large.
 * @param {Element} plot
 */
export function markPoints(plot) {
  const chosen = new Set(state.places.filter((each) => each.model === state.model).map(nameOf));
  for (const point of plot.querySelectorAll(".point")) {
    point.classList.toggle("chosen", chosen.has(point.getAttribute("data-point") ?? ""));
  }
}

/**
 * Where every head that is not pruned stands.
 * @param {(number | null)[][][]} tables values along both axes
 */
function pointsOf(tables) {
  return page.models[state.model].category.flatMap((kinds, layer) =>
    kinds.flatMap((kind, head) => {
      const at = tables.map((table) => table[layer][head]);
      if (kind === "pruned" || at.some((each) => each === null)) return [];
      return [{ place: { model: state.model, layer, head }, kind, at: /** @type {number[]} */ (at) }];
    }),
  );
}

/**
 * Circle, square or diamond: categories are told by more than their colour.
 * @param {string} kind
 */
function shapeOf(kind) {
  if (kind === "vertical") return "M-4 -4H4V4H-4Z";
  if (kind === "diagonal") return "M0 -5.5L5.5 0L0 5.5L-5.5 0Z";
  return "M-4.5 0A4.5 4.5 0 1 0 4.5 0A4.5 4.5 0 1 0 -4.5 0";
}

/**
 * The chosen box in the drawing.
 * @param {ReturnType<typeof scalesOf>} scales
 */
function boxOf(scales) {
  if (!state.brush) return { width: 0, height: 0 };
  const [x0, x1, y0, y1] = state.brush;
  return {
    x: scales.x(x0), width: Math.max(0, scales.x(x1) - scales.x(x0)),
    y: scales.y(y1), height: Math.max(0, scales.y(y0) - scales.y(y1)),
  };
}

/**
 * Dragging over the plot chooses the heads inside; a click beside them chooses all again.
 * @param {SVGElement} plot
 * @param {SVGElement} box
 * @param {ReturnType<typeof scalesOf>} scales
 */
function brushWith(plot, box, scales) {
  /** @type {[number, number] | null} */
  let from = null;
  const at = (/** @type {PointerEvent} */ event) => {
    const { left, top, width, height } = plot.getBoundingClientRect();
    return /** @type {[number, number]} */ ([
      ((event.clientX - left) / width) * WIDTH, ((event.clientY - top) / height) * HEIGHT,
    ]);
  };
  const corners = (/** @type {[number, number]} */ a, /** @type {[number, number]} */ b) =>
    ({ x: Math.min(a[0], b[0]), y: Math.min(a[1], b[1]), width: Math.abs(a[0] - b[0]), height: Math.abs(a[1] - b[1]) });
  plot.addEventListener("pointerdown", (event) => {
    from = at(event);
  });
  plot.addEventListener("pointermove", (event) => {
    if (!from) return;
    for (const [name, value] of Object.entries(corners(from, at(event)))) box.setAttribute(name, String(value));
  });
  plot.addEventListener("pointerup", (event) => {
    if (!from) return;
    const { x, y, width, height } = corners(from, at(event));
    from = null;
    if (width < 4 && height < 4) {
      if (!(event.target instanceof Element && event.target.closest(".point"))) update({ brush: null });
      return;
    }
    update({
      brush: [scales.xValue(x), scales.xValue(x + width), scales.yValue(y + height), scales.yValue(y)],
    });
  });
}

/**
 * The same choice as numbers, for those who do not drag.
 * @param {string[]} names
 * @param {[number, number][]} ranges
 */
function rangeInputs(names, ranges) {
  const brush = state.brush ?? [...ranges[0], ...ranges[1]];
  return names.flatMap((name, axis) => ["from", "to"].map((which, end) => {
    const place = 2 * axis + end;
    const input = element("input", {
      type: "number", step: "any", value: Number(brush[place].toPrecision(4)), "data-control": `range${place}`,
      "aria-label": `${name} ${which}`,
      change: () => {
        const changed = /** @type {[number, number, number, number]} */ ([...brush]);
        changed[place] = Number(input.value);
        update({ brush: changed });
      },
    });
    return element("label", { class: "choice" }, end ? `${which} ` : `${name} ${which} `, input);
  }));
}
