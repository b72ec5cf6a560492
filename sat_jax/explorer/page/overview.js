// All heads of a model in, a grid of their small maps out, to sort, to filter and to choose from.

import { mapsOf, page, thumbnailsOf } from "./data.js";
import { byId, choice, element, fill } from "./elements.js";
import { canvasOf } from "./canvas.js";
import { coloursOf, pixelsOf } from "./colours.js";
import { metricTable, offer } from "./save.js";
import { markPoints, showScatter } from "./scatter.js";
import { listen, nameOf, state, update } from "./state.js";

/** @typedef {import("./state.js").Place} Place */

const grid = element("div", { class: "grid", role: "group", "aria-label": "Heads" });
const tools = element("div", { class: "controls" });
const scatter = element("div", { class: "scatter" });
const count = element("p", { class: "soft", role: "status" });
/** @type {Map<string, HTMLButtonElement>} */
const buttons = new Map();

/** Put the overview on the page and keep it as it is chosen. */
export function showOverview() {
  fill(byId("overview"), tools, grid, count, scatter);
  grid.addEventListener("keydown", walk);
  buildGrid();
  listen((changed) => {
    const has = (/** @type {string[]} */ names) => names.some((name) => changed.has(name));
    if (has(["model"])) buildGrid();
    else if (has(["sort", "ascending", "categories", "layers", "brush"])) {
      showTools();
      arrange();
    } else if (has(["axes"])) showTools();
    if (has(["utterance", "model"])) void paintThumbnails();
    if (has(["places"])) mark();
    if (has(["axes", "brush"])) showScatter(scatter, choose);
    else if (has(["places"])) markPoints(scatter);
  });
}

function buildGrid() {
  const model = page.models[state.model];
  buttons.clear();
  for (const [layer, kinds] of model.category.entries()) {
    for (const [head, kind] of kinds.entries()) {
      const place = { model: state.model, layer, head };
      const numbers = kind === "pruned" ? "" : model.metrics.slice(0, 3)
        .map((each) => `, ${each.name} ${each.values[layer][head]?.toFixed(2)}`).join("");
      const name = `${nameOf(place)}: layer ${layer + 1} head ${head + 1}, ${kind}${numbers}`;
      buttons.set(nameOf(place), element(
        "button",
        {
          class: `thumb ${kind}`, tabindex: -1, title: name, "aria-label": name, "data-head": nameOf(place),
          click: (/** @type {MouseEvent} */ event) => choose(place, event.shiftKey || event.ctrlKey || event.metaKey),
        },
        element("canvas", { width: 40, height: 40, "aria-hidden": "true" }),
        element("span", { "aria-hidden": "true" }, nameOf(place)),
      ));
    }
  }
  showTools();
  arrange();
  mark();
  showScatter(scatter, choose);
  void paintThumbnails();
}

/**
 * Draw a head large: alone, or beside those that are drawn.
 * @param {Place} place
 * @param {boolean} beside
 */
export function choose(place, beside) {
  const same = (/** @type {Place} */ each) => JSON.stringify(each) === JSON.stringify(place);
  if (!beside) return update({ places: [place] });
  const without = state.places.filter((each) => !same(each));
  const there = without.length < state.places.length;
  update({ places: there && without.length ? without : [...without, place] });
}

/** Draw all small maps of the utterance. */
async function paintThumbnails() {
  const maps = mapsOf(state.model, state.utterance);
  const model = page.models[state.model];
  const codes = maps ? await thumbnailsOf(maps) : null;
  let index = 0;
  for (const button of buttons.values()) {
    const canvas = /** @type {HTMLCanvasElement} */ (button.querySelector("canvas"));
    const context = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d"));
    context.clearRect(0, 0, canvas.width, canvas.height);
    if (maps && codes && !button.classList.contains("pruned")) {
      const { side } = maps;
      const mine = codes.subarray(index * side * side, (index + 1) * side * side);
      const largest = mine.reduce((a, b) => Math.max(a, b), 0);
      const { lookup } = coloursOf("log", largest, maps.positions, 0);
      context.imageSmoothingEnabled = false;
      context.drawImage(canvasOf(pixelsOf(mine, side, lookup, null)), 0, 0, canvas.width, canvas.height);
    }
    index++;
  }
  document.body.dataset.overview = `${model.key} ${state.utterance}`;
}

/** Put the heads that are shown into their order. */
function arrange() {
  const model = page.models[state.model];
  /** @type {{place: Place, value: number}[]} */
  const shown = [];
  for (const [layer, kinds] of model.category.entries()) {
    for (const [head, kind] of kinds.entries()) {
      const place = { model: state.model, layer, head };
      if (state.categories.length && !state.categories.includes(kind)) continue;
      if (state.layers.length && !state.layers.includes(layer)) continue;
      if (!brushed(place)) continue;
      shown.push({ place, value: sortValue(place) });
    }
  }
  const sign = state.ascending ? 1 : -1;
  shown.sort((a, b) => sign * (a.value - b.value));
  grid.style.setProperty("--columns", String(model.heads));
  grid.classList.toggle("by-layer", state.sort === "layer" && !filtered());
  fill(grid, ...shown.map(({ place }) => /** @type {Node} */ (buttons.get(nameOf(place)))));
  if (!shown.length) fill(grid, element("p", {}, "No head matches: remove a filter."));
  count.textContent = `${shown.length} of ${model.layers * model.heads} heads. `
    + "Shift and click, or Shift and Enter, to see several.";
  mark();
}

function filtered() {
  return state.categories.length > 0 || state.layers.length > 0 || state.brush !== null;
}

/** @param {Place} place */
function brushed({ layer, head }) {
  if (!state.brush) return true;
  const model = page.models[state.model];
  return state.axes.every((name, axis) => {
    const value = model.metrics.find((each) => each.name === name)?.values[layer][head];
    const [low, high] = [state.brush?.[2 * axis] ?? 0, state.brush?.[2 * axis + 1] ?? 0];
    return value !== null && value !== undefined && low <= value && value <= high;
  });
}

/** @param {Place} place */
function sortValue({ layer, head }) {
  const model = page.models[state.model];
  if (state.sort === "layer") return layer * model.heads + head;
  if (state.sort === "category") {
    return page.categories.indexOf(model.category[layer][head]) * 1e6 + layer * model.heads + head;
  }
  const [, ordering] = state.sort.split("pruned by ");
  if (ordering) return model.ablation?.orders[ordering]?.[layer][head] ?? Infinity;
  const value = model.metrics.find((each) => each.name === state.sort)?.values[layer][head];
  return value ?? (state.ascending ? Infinity : -Infinity);
}

/** Show which heads are drawn large. */
function mark() {
  const chosen = new Set(state.places.filter((each) => each.model === state.model).map(nameOf));
  const shown = Array.from(grid.querySelectorAll("button"));
  const first = shown.find((each) => chosen.has(each.dataset.head ?? "")) ?? shown[0];
  for (const [name, button] of buttons) {
    const pressed = String(chosen.has(name));
    if (button.getAttribute("aria-pressed") !== pressed) button.setAttribute("aria-pressed", pressed);
    const reached = button === first ? 0 : -1;
    if (button.tabIndex !== reached) button.tabIndex = reached;
  }
}

/**
 * Arrows move among the heads that are shown.
 * @param {KeyboardEvent} event
 */
function walk(event) {
  const shown = Array.from(grid.querySelectorAll("button"));
  const at = shown.indexOf(/** @type {HTMLButtonElement} */ (document.activeElement));
  const { top } = shown[0]?.getBoundingClientRect() ?? { top: 0 };
  const columns = Math.max(1, shown.filter((each) => each.getBoundingClientRect().top === top).length);
  /** @type {Record<string, number>} */
  const moves = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -columns, ArrowDown: columns, Home: -at, End: shown.length - 1 - at };
  const move = moves[event.key];
  if (event.key === "Enter" && event.shiftKey) {
    event.preventDefault();
    shown[at]?.dispatchEvent(new MouseEvent("click", { shiftKey: true, bubbles: true }));
  }
  const next = move === undefined || at < 0 ? undefined : shown[at + move];
  if (!next) return;
  event.preventDefault();
  shown[at].tabIndex = -1;
  next.tabIndex = 0;
  next.focus();
}

function showTools() {
  const model = page.models[state.model];
  const focused = document.activeElement?.getAttribute("data-control");
  const orders = Object.keys(model.ablation?.orders ?? {}).map((name) => `pruned by ${name}`);
  const sorts = ["layer", "category", ...model.metrics.map((each) => each.name), ...orders];
  const kinds = [...new Set(model.category.flat())];
  const toggled = (/** @type {any[]} */ list, /** @type {any} */ each) =>
    list.includes(each) ? list.filter((other) => other !== each) : [...list, each];
  fill(
    tools,
    choice("Sort by", sorts.map((each) => [each, each.replace("pruned by", "pruning order:")]), state.sort,
      (sort) => update({ sort }), { "data-control": "sort" }),
    element("button", {
      "data-control": "order", "aria-label": state.ascending ? "Smallest first" : "Largest first",
      title: state.ascending ? "Smallest first" : "Largest first", click: () => update({ ascending: !state.ascending }),
    }, state.ascending ? "\u2191" : "\u2193"),
    element("span", { class: "group", role: "group", "aria-label": "Categories" }, ...kinds.map((kind) =>
      element("button", {
        class: `kind ${kind}`, "data-control": kind, "aria-pressed": String(state.categories.includes(kind)),
        click: () => update({ categories: toggled(state.categories, kind) }),
      }, kind))),
    element("span", { class: "group", role: "group", "aria-label": "Layers" }, "Layers ",
      ...Array.from({ length: model.layers }, (_, layer) => element("button", {
        "data-control": `layer${layer}`, "aria-label": `Layer ${layer + 1}`,
        "aria-pressed": String(state.layers.includes(layer)),
        click: () => update({ layers: toggled(state.layers, layer) }),
      }, layer + 1))),
    filtered() ? element("button", {
      "data-control": "all", click: () => update({ categories: [], layers: [], brush: null }),
    }, "Show all") : null,
    element("button", {
      "data-control": "metrics", click: () => offer("heads.csv", new Blob([metricTable()], { type: "text/csv" })),
    }, "Metrics as CSV"),
  );
  if (focused) {
    const again = tools.querySelector(`[data-control="${focused}"]`);
    if (again instanceof HTMLElement) again.focus();
  }
}
