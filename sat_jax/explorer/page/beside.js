// The first chosen head in, all that is known of it out.

import { mapOf, mapsOf, page, PROBS } from "./data.js";
import { byId, drawn, element, fill } from "./elements.js";
import { chartOf, signed } from "./chart.js";
import { showRelation } from "./relation.js";
import { listen, nameOf, state } from "./state.js";

/**
 * @typedef {import("./state.js").Place} Place
 * @typedef {import("./data.js").Model} Model
 * @typedef {import("./data.js").Metric} Metric
 */

const TOLERANCE = 0.02;
const PAUSE_TO_READ = 90;
const parts = {
  title: element("div", {}),
  metrics: element("div", {}),
  offsets: element("div", {}),
  relation: element("div", {}),
  boundaries: element("div", {}),
  pruning: element("div", {}),
};

/** Put what is known of the first head on the page and keep it as it is chosen. */
export function showBeside() {
  fill(byId("beside"), ...Object.values(parts));
  showTitle();
  showRest();
  let waiting = 0;
  listen((changed) => {
    if (changed.has("places")) {
      showTitle();
      // Those who walk from head to head see maps; the rest follows where they stop.
      clearTimeout(waiting);
      waiting = setTimeout(showRest, PAUSE_TO_READ);
    } else if (changed.has("utterance")) {
      const place = state.places[0];
      void showOffsets(page.models[place.model], place);
      showBoundaries(page.models[place.model], place);
    }
  });
}

function showTitle() {
  const place = state.places[0];
  const model = page.models[place.model];
  const kind = model.category[place.layer][place.head];
  const operations = model.operations[place.layer]?.[place.head];
  fill(
    parts.title,
    element("h2", {}, `${nameOf(place)} of ${model.name}`),
    element("p", {}, element("span", { class: `kind ${kind}` }, kind), shareText(model, place)),
    operations ? element("p", {}, `Phone-specific attention: ${operations}.`) : null,
    ...model.missing.map((text) => element("p", { class: "soft" }, text)),
  );
}

function showRest() {
  const place = state.places[0];
  const model = page.models[place.model];
  showMetrics(model, place);
  void showOffsets(model, place);
  const index = place.layer * model.heads + place.head;
  void showRelation(parts.relation, model, index, () =>
    JSON.stringify(state.places[0]) === JSON.stringify(place));
  showBoundaries(model, place);
  showPruning(model, place);
}

/**
 * @param {Model} model
 * @param {Place} place
 */
function shareText(model, { layer, head }) {
  const share = model.share[layer][head];
  return share === null ? "" : ` in ${Math.round(100 * share)} % of bootstrap draws over ${model.utterances} utterances`;
}

/**
 * @param {Model} model
 * @param {Place} place
 */
function showMetrics(model, place) {
  const { layer, head } = place;
  const count = model.category.flat().filter((each) => each !== "pruned").length;
  const number = (/** @type {number | null} */ value) => (value === null ? "" : signed(value, Math.abs(value) < 0.1 ? 4 : 3));
  const rows = model.metrics.map((metric) => {
    const { values, low, high, rank, rankLow, rankHigh } = metric;
    const turn = rank?.[layer][head] ?? null;
    const ends = [rankLow?.[layer][head], rankHigh?.[layer][head]];
    return element("tr", { "data-metric": metric.name },
      element("th", { scope: "row" }, metric.label),
      element("td", {}, number(values[layer][head])),
      element("td", {}, values[layer][head] === null ? "" : `${number(low[layer][head])} to ${number(high[layer][head])}`),
      element("td", {}, turn === null ? "" : `${turn} (${ends[0]} to ${ends[1]})`));
  });
  const head_ = element("tr", {}, ...["", "mean", "95 % interval", `rank of ${count}`].map((text) =>
    element("th", { scope: "col" }, text)));
  fill(parts.metrics, element("h3", {}, "Metrics"),
    element("div", { class: "wide", tabindex: 0, role: "region", "aria-label": "Metrics" },
      element("table", {}, element("thead", {}, head_), element("tbody", {}, ...rows))));
}

/**
 * How far the head looks: on this utterance by offset, on the corpus within a radius.
 * @param {Model} model
 * @param {Place} place
 */
async function showOffsets(model, place) {
  const maps = mapsOf(place.model, state.utterance);
  const map = maps ? await mapOf(maps, place.layer * model.heads + place.head) : null;
  if (JSON.stringify(state.places[0]) !== JSON.stringify(place)) return;
  const cumulative = model.cumulative;
  const curve = cumulative?.curves[place.layer][place.head];
  /** @type {(Node | null)[]} */
  const found = [element("h3", {}, "How far it looks")];
  if (map) {
    const [x, y] = meanByOffset(map, model.seconds);
    found.push(chartOf({
      label: "Attention by offset, this utterance", xLabel: "key minus query (s)", yLabel: "mean attention",
      series: [{ name: "attention", x, y, look: "first" }],
    }));
  }
  if (cumulative && curve) {
    const x = cumulative.radii.map((each) => each * model.seconds);
    found.push(chartOf({
      label: "Attention within a distance of the query (CAD), all utterances",
      xLabel: "largest distance from the query (s)",
      yLabel: "share of attention",
      series: [
        { name: nameOf(place), x, y: curve, look: "first" },
        { name: "uniform attention", x, y: cumulative.uniform, look: "second" },
      ],
    }));
  }
  fill(parts.offsets, ...found);
}

/**
 * Mean attention at every offset of key from query.
 * @param {import("./data.js").DecodedMap} map
 * @param {number} seconds per position
 * @returns {[number[], number[]]}
 */
function meanByOffset({ codes, side, factor }, seconds) {
  const sums = new Float64Array(2 * side - 1);
  for (let t = 0; t < side; t++) {
    for (let s = 0; s < side; s++) sums[s - t + side - 1] += PROBS[codes[t * side + s]];
  }
  const offsets = Array.from(sums, (_, i) => i - side + 1);
  const y = offsets.map((each, i) => sums[i] / (side - Math.abs(each)));
  return [offsets.map((each) => each * factor * seconds), y];
}

/**
 * Boundaries that the head's rows give against true ones, on this utterance.
 * @param {Model} model
 * @param {Place} place
 */
function showBoundaries(model, place) {
  const { segments } = model;
  const r = segments?.r[place.layer][place.head];
  if (!segments || r === null || r === undefined) return fill(parts.boundaries);
  const [low, high] = [segments.low[place.layer][place.head], segments.high[place.layer][place.head]];
  const utterance = page.utterances[state.utterance];
  const found = mapsOf(place.model, state.utterance)?.boundaries?.[place.layer][place.head];
  const text = `R-value over all test utterances ${r.toFixed(1)} (${low?.toFixed(1)} to ${high?.toFixed(1)}); `
    + `that of evenly spaced boundaries ${segments.even.toFixed(1)}.`;
  fill(
    parts.boundaries,
    element("h3", {}, "Phone boundaries"),
    element("p", {}, text),
    found ? boundaryLine(utterance, found) : element("p", { class: "soft" }, segments.why),
  );
}

/**
 * True boundaries above, those found below; those within 20 ms of each other are joined.
 * @param {import("./data.js").Utterance} utterance
 * @param {number[]} found
 */
function boundaryLine(utterance, found) {
  const truth = utterance.phones.slice(1).map((each) => each.start);
  const [width, height] = [360, 58];
  const x = (/** @type {number} */ seconds) => (seconds / utterance.seconds) * width;
  const near = (/** @type {number} */ at, /** @type {number[]} */ others) =>
    others.some((each) => Math.abs(each - at) <= TOLERANCE + 1e-9);
  const hits = found.filter((each) => near(each, truth)).length;
  const ticks = (/** @type {number[]} */ all, /** @type {number[]} */ others, /** @type {number} */ y) =>
    all.map((each) => drawn("line", {
      class: near(each, others) ? "hit" : "miss", x1: x(each), x2: x(each), y1: y, y2: y + 20,
    }));
  const label = `${hits} of ${found.length} detected boundaries lie within 20 ms of one of ${truth.length} reference ones`;
  return element("figure", {},
    drawn("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": label, class: "chart" },
      ...ticks(truth, found, 4), ...ticks(found, truth, 30)),
    element("figcaption", {},
      `This utterance. Top: reference boundaries; bottom: detected; thin: no match within 20 ms. ${label}.`));
}

/**
 * Where the head goes in each order of pruning, and what is left of every task then.
 * @param {Model} model
 * @param {Place} place
 */
function showPruning(model, place) {
  const { ablation } = model;
  if (!ablation) return fill(parts.pruning);
  const turn = (/** @type {string} */ name) => ablation.orders[name]?.[place.layer][place.head] ?? null;
  const names = Object.keys(ablation.orders);
  const rows = names.map((name) => element("tr", { "data-order": name },
    element("th", { scope: "row" }, name),
    element("td", {}, `${turn(name)} of ${model.category.flat().length}`),
    ...ablation.tasks.map((task) => element("td", {}, valueText(task, name, turn(name))))));
  const head = element("tr", {}, ...["pruning order", "position", ...ablation.tasks.map((task) => task.label)].map((text) =>
    element("th", { scope: "col" }, text)));
  const charts = ablation.tasks.map((task) => chartOf({
    label: task.name,
    xLabel: "heads pruned",
    yLabel: task.label,
    across: task.chance === null ? [] : [[task.chance, task.lower ? "predicting the mean" : "chance"]],
    series: task.curves.map((curve, index) => ({
      name: curve.ordering, x: curve.pruned, y: curve.value, low: curve.low, high: curve.high,
      look: ["first", "second", "third", "fourth"][index] ?? "faint",
    })),
    marks: task.curves.flatMap((curve) => {
      const at = turn(curve.ordering);
      if (at === null) return [];
      return [{ x: at, y: along(curve, at), text: `${nameOf(place)} is number ${at} by ${curve.ordering}` }];
    }),
  }));
  fill(parts.pruning, element("h3", {}, "Position in the orders of pruning"),
    element("div", { class: "wide", tabindex: 0, role: "region", "aria-label": "Orders of pruning" },
      element("table", {}, element("thead", {}, head), element("tbody", {}, ...rows))),
    element("p", { class: "soft" },
      "Task scores with this head and all before it pruned, interpolated between measured numbers of heads."),
    ...charts);
}

/**
 * @param {import("./data.js").Task} task
 * @param {string} ordering
 * @param {number | null} turn
 */
function valueText(task, ordering, turn) {
  const curve = task.curves.find((each) => each.ordering === ordering);
  if (!curve || turn === null) return "";
  return along(curve, turn).toFixed(task.lower ? 3 : 1);
}

/**
 * A curve's value at a number of pruned heads, on the line between its neighbours.
 * @param {import("./data.js").Curve} curve
 * @param {number} at
 */
export function along({ pruned, value }, at) {
  const after = Math.max(1, pruned.findIndex((each) => each >= at));
  const [x0, x1] = [pruned[after - 1], pruned[after]];
  if (x1 === undefined) return value[value.length - 1];
  return value[after - 1] + ((value[after] - value[after - 1]) * (at - x0)) / (x1 - x0);
}
