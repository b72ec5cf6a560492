// The page: a bar, all heads, the chosen ones, and what is known of them.

import { mapOf, mapsOf, page, PROBS } from "./data.js";
import { difference } from "./difference.js";
import { byId, choice, element, fill } from "./elements.js";
import { showBeside } from "./beside.js";
import { hear, showHeads } from "./head.js";
import { showOverview } from "./overview.js";
import { schedule, soundOf, watch } from "./player.js";
import { addressOf, followAddress, listen, state, update } from "./state.js";

const HELP = [
  ["arrows", "on a small map: another head; on a large one: another query or key"],
  ["Enter", "on a small map: see it large; on a large one: hear the query, then the key"],
  ["Shift and Enter", "see several heads side by side"],
  ["space", "play or stop"],
  ["+ \u2212 0", "on a large map: zoom in, out, whole map"],
  ["[ ]", "previous and next utterance"],
  ["m", "the next model"],
];

followAddress();
showBar();
showOverview();
showHeads();
showBeside();
fill(byId("notes"), ...page.notes.map((text) => element("p", {}, text)));
document.addEventListener("keydown", pressed);
listen((changed) => {
  if (changed.has("utterance") || changed.has("model")) showBar();
});
// For those who open the browser's console.
Object.assign(globalThis, {
  explorer: { page, state, update, addressOf, mapsOf, mapOf, difference, PROBS, soundOf, schedule, watch },
});

function showBar() {
  const focused = document.activeElement?.getAttribute("data-control");
  const bar = byId("bar");
  const utterance = page.utterances[state.utterance];
  const model = page.models[state.model];
  fill(
    bar,
    element("h1", {}, page.title),
    choice("Utterance", page.utterances.map((each, i) =>
      [String(i), `${each.id} (${each.speaker ? `${each.speaker}, ` : ""}${each.seconds.toFixed(1)} s)`]),
      String(state.utterance), (value) => changeUtterance(Number(value)), { "data-control": "utterance" }),
    page.models.length > 1
      ? choice("Model", page.models.map((each, i) => [String(i), each.name]), String(state.model),
        (value) => changeModel(Number(value)), { "data-control": "model" })
      : null,
    element("details", { class: "help" }, element("summary", {}, "Keyboard shortcuts"),
      element("dl", {}, ...HELP.flatMap(([key, text]) => [element("dt", {}, key), element("dd", {}, text)]))),
  );
  document.title = `${page.title}: ${model.name}, ${utterance.id}`;
  if (focused) {
    const again = bar.querySelector(`[data-control="${focused}"]`);
    if (again instanceof HTMLElement) again.focus();
  }
}

/** @param {number} utterance */
function changeUtterance(utterance) {
  const count = page.utterances.length;
  update({ utterance: (utterance + count) % count, view: null, query: null, key: null });
}

/**
 * See the same heads of another model, where it has them.
 * @param {number} model
 */
function changeModel(model) {
  const to = page.models[model];
  const places = state.places.map(({ layer, head }) =>
    ({ model, layer: Math.min(layer, to.layers - 1), head: Math.min(head, to.heads - 1) }));
  update({ model, places, brush: null, layers: state.layers.filter((each) => each < to.layers), query: null, key: null });
}

/** @param {KeyboardEvent} event */
function pressed(event) {
  if (event.altKey || event.ctrlKey || event.metaKey) return;
  const { target } = event;
  if (target instanceof HTMLInputElement || target instanceof HTMLSelectElement) return;
  const pressable = target instanceof HTMLElement && ["BUTTON", "SUMMARY"].includes(target.tagName);
  if (event.key === " " && !pressable) hear();
  else if (event.key === "[") changeUtterance(state.utterance - 1);
  else if (event.key === "]") changeUtterance(state.utterance + 1);
  else if (event.key === "m") changeModel((state.model + 1) % page.models.length);
  else return;
  event.preventDefault();
}
