// The chosen heads in, their maps with all that acts on them out.

import { mapsOf, page } from "./data.js";
import { byId, choice, element, fill } from "./elements.js";
import { drawOver, drawPanel, loadPanel, makePanel, turnTo } from "./panel.js";
import { listenTo, zoom } from "./pointing.js";
import { isPlaying, play, stop, watch } from "./player.js";
import { save } from "./save.js";
import { listen, nameOf, state, update } from "./state.js";

/** @typedef {import("./panel.js").Panel} Panel */

/** @type {Panel[]} */
const panels = [];
const room = element("div", { class: "panels" });
const controls = element("div", { class: "controls" });

/** What is drawn anew when something of this changes; all else only moves. */
const REPAINT = ["utterance", "scale", "threshold", "span", "minus"];

/** Put the chosen heads on the page and keep them as they are chosen. */
export function showHeads() {
  fill(byId("head"), controls, room);
  showControls();
  buildPanels();
  listen((changed) => {
    const has = (/** @type {string[]} */ names) => names.some((name) => changed.has(name));
    if (has(["places"])) buildPanels();
    if (has(["places"]) && !has(REPAINT)) return;
    if (has([...REPAINT, "boundaries", "model"])) showControls();
    if (has(REPAINT)) return void loadAll();
    if (has(["view"])) return panels.forEach((each) => void drawPanel(each));
    if (has(["query", "key", "boundaries"])) panels.forEach(drawOver);
  });
  watch((seconds) => {
    for (const panel of panels) {
      panel.heard = seconds;
      drawOver(panel);
    }
  });
  let width = 0;
  new ResizeObserver(([{ contentRect }]) => {
    if (contentRect.width !== width) panels.forEach((each) => void drawPanel(each));
    width = contentRect.width;
  }).observe(room);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => void loadAll());
}

function buildPanels() {
  const { places } = state;
  const before = panels.length;
  panels.length = Math.min(before, places.length);
  while (panels.length < places.length) {
    const panel = makePanel();
    listenTo(panel);
    panels.push(panel);
  }
  places.forEach((place, index) => {
    const without = places.filter((_, other) => other !== index);
    turnTo(panels[index], place, without.length ? () => update({ places: without }) : null);
  });
  if (panels.length !== before) {
    room.classList.toggle("several", panels.length > 1);
    fill(room, ...panels.map((panel) => panel.node));
  }
  return void loadAll();
}

async function loadAll() {
  await Promise.all(panels.map(loadPanel));
  document.body.dataset.drawn = `${state.places.map(nameOf).join(" ")} ${state.utterance}`;
}

function showControls() {
  const whole = page.utterances[state.utterance];
  const minus = [["", "nothing"], ...page.models.map((each) => [each.key, each.name])];
  const focused = document.activeElement?.getAttribute("data-control");
  const number = (/** @type {string} */ label, /** @type {string} */ name, /** @type {number | null} */ value,
    /** @type {Record<string, any>} */ more, /** @type {(text: string) => void} */ change) => {
    const input = element("input", {
      type: "number", value: value ?? "", "data-control": name, change: () => change(input.value), ...more,
    });
    return element("label", { class: "choice" }, `${label} `, input);
  };
  const boundaries = element("input", {
    type: "checkbox",
    checked: state.boundaries,
    "data-control": "boundaries",
    change: () => update({ boundaries: boundaries.checked }),
  });
  const found = state.places.some((each) => mapsOf(each.model, state.utterance)?.boundaries);
  fill(
    controls,
    element("button", { "data-control": "play", click: () => hear() }, "Play / stop"),
    choice("Colours", [["log", "log scale"], ["linear", "linear"], ["uniform", "relative to uniform"]], state.scale,
      (value) => update({ scale: /** @type {"log"} */ (value) }), { "data-control": "scale" }),
    choice("Subtract", /** @type {[string, string][]} */ (minus),
      state.minus === null ? "" : page.models[state.minus].key,
      (key) => update({ minus: key ? page.models.findIndex((each) => each.key === key) : null }),
      { "data-control": "minus" }),
    number("Hide attention below", "threshold", state.threshold || null, { min: 0, max: 1, step: "any", placeholder: "0" },
      (text) => update({ threshold: Math.max(0, Math.min(1, Number(text) || 0)) })),
    number("Largest distance", "span", state.span, {
      min: 0, step: 1, placeholder: "all", title: "in positions: keys more distant from the query are dimmed",
    },
      (text) => update({ span: text === "" ? null : Math.max(0, Math.round(Number(text))) })),
    found ? element("label", { class: "choice" }, boundaries, " Boundaries detected") : null,
    element("span", { class: "group" },
      element("button", { "data-control": "in", click: () => zoom(panels[0], 1.5), title: "Zoom in" }, "+"),
      element("button", { "data-control": "out", click: () => zoom(panels[0], 1 / 1.5), title: "Zoom out" }, "\u2212"),
      element("button", { "data-control": "whole", click: () => update({ view: null }) }, "Whole map")),
    element("span", { class: "group" }, "Save ",
      ...["PNG", "SVG", "CSV"].map((kind) => element("button", {
        "data-control": kind,
        click: () => void save(kind, panels, whole),
      }, kind))),
  );
  if (focused) {
    const again = controls.querySelector(`[data-control="${focused}"]`);
    if (again instanceof HTMLElement) again.focus();
  }
}

/** Play the part of the utterance that is seen, or stop. */
export function hear() {
  if (isPlaying()) return stop();
  const utterance = page.utterances[state.utterance];
  const [, , from, to] = state.view ?? [0, 0, 0, utterance.seconds];
  return void play(utterance, Math.max(0, from), Math.min(to, utterance.seconds));
}
