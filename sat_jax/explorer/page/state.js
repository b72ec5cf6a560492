// What is seen, in the page's address and back: every view can be shared as a link.

import { page } from "./data.js";

/**
 * One head of one model, both counted from 0.
 * @typedef {{model: number, layer: number, head: number}} Place
 */

/**
 * @typedef {object} State
 * @property {number} model whose heads the overview shows
 * @property {number} utterance
 * @property {Place[]} places heads that are drawn large, the first is described beside
 * @property {"log" | "linear" | "uniform"} scale
 * @property {number} threshold probability below which nothing is drawn
 * @property {number | null} span positions beyond which pixels are dimmed
 * @property {number | null} minus model that is subtracted
 * @property {boolean} boundaries whether boundaries are drawn
 * @property {string} sort
 * @property {boolean} ascending
 * @property {string[]} categories that are shown; none is all
 * @property {number[]} layers that are shown; none is all
 * @property {[string, string]} axes of the scatter plot
 * @property {[number, number, number, number] | null} brush least and largest along both axes
 * @property {[number, number, number, number] | null} view first and last query and key, in
 *   seconds; null is everything
 * @property {number | null} query position of the query that is pointed at
 * @property {number | null} key
 */

/** @type {State} */
export const state = initial();

const PAUSE_TO_WRITE = 150;
/** @type {((changed: Set<string>) => void)[]} */
const listeners = [];
let writing = 0;

/** @returns {State} */
function initial() {
  const names = page.models[0].metrics.map((each) => each.name);
  return {
    model: 0,
    utterance: 0,
    places: [firstHead(0)],
    scale: "log",
    threshold: 0,
    span: null,
    minus: null,
    boundaries: false,
    sort: "layer",
    ascending: true,
    categories: [],
    layers: [],
    axes: [names[0], names[2] ?? names[0]],
    brush: null,
    view: null,
    query: null,
    key: null,
  };
}

/**
 * The first head of a model that is not pruned.
 * @param {number} model
 * @returns {Place}
 */
function firstHead(model) {
  const { category } = page.models[model];
  for (const [layer, row] of category.entries()) {
    const head = row.findIndex((each) => each !== "pruned");
    if (head >= 0) return { model, layer, head };
  }
  return { model, layer: 0, head: 0 };
}

/**
 * Change what is seen; everyone who listens is told what changed.
 * @param {Partial<State>} change
 */
export function update(change) {
  const changed = new Set();
  for (const [name, value] of Object.entries(change)) {
    const before = /** @type {any} */ (state)[name];
    if (JSON.stringify(before) !== JSON.stringify(value)) changed.add(name);
  }
  if (!changed.size) return;
  Object.assign(state, change);
  clearTimeout(writing);
  writing = setTimeout(writeAddress, PAUSE_TO_WRITE);
  for (const listener of listeners) listener(changed);
}

/** Browsers refuse addresses that change with every move of the mouse. */
function writeAddress() {
  history.replaceState(null, "", `#${addressOf(state)}`);
}

/**
 * Call a function whenever something changes.
 * @param {(changed: Set<string>) => void} listener
 */
export function listen(listener) {
  listeners.push(listener);
}

/** Take over what the address says, now and whenever it changes. */
export function followAddress() {
  Object.assign(state, initial(), parsed(location.hash.slice(1)));
  addEventListener("hashchange", () => {
    if (location.hash.slice(1) === addressOf(state)) return;
    Object.assign(state, initial(), parsed(location.hash.slice(1)));
    const everything = new Set(Object.keys(state));
    for (const listener of listeners) listener(everything);
  });
}

/**
 * Layer and head from 1, as figures name them: L4 H5.
 * @param {Place} place
 */
export function nameOf(place) {
  return `L${place.layer + 1} H${place.head + 1}`;
}

/**
 * A state as the address has it; what is as it was at first is left out.
 * @param {State} seen
 */
export function addressOf(seen) {
  const first = initial();
  const text = new URLSearchParams();
  const places = seen.places.map((each) => {
    const whose = each.model === seen.model ? "" : `${page.models[each.model].key}:`;
    return `${whose}${each.layer + 1}.${each.head + 1}`;
  });
  text.set("head", places.join(" "));
  text.set("utterance", page.utterances[seen.utterance].id);
  if (seen.model !== first.model) text.set("model", page.models[seen.model].key);
  if (seen.scale !== first.scale) text.set("scale", seen.scale);
  if (seen.threshold) text.set("threshold", String(seen.threshold));
  if (seen.span !== null) text.set("span", String(seen.span));
  if (seen.minus !== null) text.set("minus", page.models[seen.minus].key);
  if (seen.boundaries) text.set("boundaries", "1");
  if (seen.sort !== first.sort || seen.ascending !== first.ascending) {
    text.set("sort", `${seen.ascending ? "" : "-"}${seen.sort}`);
  }
  if (seen.categories.length) text.set("category", seen.categories.join(" "));
  if (seen.layers.length) text.set("layer", seen.layers.map((each) => each + 1).join(" "));
  if (seen.axes.join() !== first.axes.join()) text.set("axes", seen.axes.join(" "));
  if (seen.brush) text.set("brush", seen.brush.map(short).join(" "));
  if (seen.view) text.set("view", seen.view.map(short).join(" "));
  if (seen.query !== null) text.set("query", String(seen.query));
  if (seen.key !== null) text.set("key", String(seen.key));
  return text.toString();
}

/**
 * What an address says; what it says of things that the page has not is passed over.
 * @param {string} address
 * @returns {Partial<State>}
 */
function parsed(address) {
  const text = new URLSearchParams(address);
  /** @type {Partial<State>} */
  const found = {};
  const words = (/** @type {string} */ name) => (text.get(name) ?? "").split(" ").filter(Boolean);
  const numbers = (/** @type {string} */ name) => words(name).map(Number);
  const modelOf = (/** @type {string | null} */ key) => page.models.findIndex((m) => m.key === key);
  const model = Math.max(modelOf(text.get("model")), 0);
  if (model) found.model = model;
  const utterance = page.utterances.findIndex((each) => each.id === text.get("utterance"));
  if (utterance >= 0) found.utterance = utterance;
  const places = words("head").flatMap((word) => {
    const split = word.lastIndexOf(":");
    const whose = split < 0 ? model : modelOf(word.slice(0, split));
    const [layer, head] = word.slice(split + 1).split(".").map((each) => Number(each) - 1);
    const known = page.models[whose]?.category[layer]?.[head];
    return known === undefined ? [] : [{ model: whose, layer, head }];
  });
  found.places = places.length ? places : [firstHead(model)];
  const scale = text.get("scale");
  if (scale === "linear" || scale === "uniform") found.scale = scale;
  found.threshold = Math.min(Math.max(Number(text.get("threshold")) || 0, 0), 1);
  if (/^\d+$/.test(text.get("span") ?? "")) found.span = Number(text.get("span"));
  if (modelOf(text.get("minus")) >= 0) found.minus = modelOf(text.get("minus"));
  found.boundaries = text.get("boundaries") === "1";
  const metrics = page.models[model].metrics.map((each) => each.name);
  const sort = text.get("sort") ?? "";
  if (sort) {
    found.ascending = !sort.startsWith("-");
    found.sort = sort.replace(/^-/, "");
  }
  found.categories = words("category").filter((each) => page.categories.includes(each));
  found.layers = numbers("layer").map((each) => each - 1).filter((each) => each >= 0);
  const axes = words("axes");
  if (axes.length === 2 && axes.every((each) => metrics.includes(each))) {
    found.axes = [axes[0], axes[1]];
  }
  found.brush = four(numbers("brush"));
  found.view = four(numbers("view"));
  for (const name of /** @type {const} */ (["query", "key"])) {
    if (/^\d+$/.test(text.get(name) ?? "")) found[name] = Number(text.get(name));
  }
  return found;
}

/**
 * @param {number[]} given
 * @returns {[number, number, number, number] | null}
 */
function four(given) {
  const [a, b, c, d] = given;
  return given.length === 4 && given.every(Number.isFinite) ? [a, b, c, d] : null;
}

/** @param {number} value */
function short(value) {
  return Number(value.toPrecision(5));
}
