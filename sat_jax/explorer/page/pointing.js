// What mouse and keys do on a panel in, changes of what is seen out.

import { edge, page } from "./data.js";
import { speak } from "./elements.js";
import { LEFT, viewOf } from "./panel.js";
import { play, playPair } from "./player.js";
import { middleOf, rowText } from "./row.js";
import { state, update } from "./state.js";

/** @typedef {import("./panel.js").Panel} Panel */

const CLICK = 4;
const ZOOM = 1.25;
const CLOSEST = 4;

/**
 * Listen to the mouse and the keyboard on a panel.
 * @param {Panel} panel
 */
export function listenTo(panel) {
  const { canvas, strips } = panel;
  /** @type {{x: number, y: number, view: [number, number, number, number], moved: boolean} | null} */
  let pressed = null;
  canvas.addEventListener("pointerdown", (event) => {
    pressed = { x: event.offsetX, y: event.offsetY, view: viewOf(panel), moved: false };
    canvas.setPointerCapture(event.pointerId);
  });
  canvas.addEventListener("pointermove", (event) => {
    if (!panel.map) return;
    if (pressed && Math.hypot(event.offsetX - pressed.x, event.offsetY - pressed.y) > CLICK) pressed.moved = true;
    if (pressed?.moved) pan(panel, pressed.view, event.offsetX - pressed.x, event.offsetY - pressed.y);
    else point(panel, event.offsetX, event.offsetY);
  });
  canvas.addEventListener("pointerup", (event) => {
    if (pressed && !pressed.moved && panel.map) {
      point(panel, event.offsetX, event.offsetY);
      hearPointed(panel);
    }
    pressed = null;
  });
  canvas.addEventListener("wheel", (event) => {
    event.preventDefault();
    zoom(panel, event.deltaY < 0 ? ZOOM : 1 / ZOOM, event.offsetX / panel.size, event.offsetY / panel.size);
  }, { passive: false });
  canvas.addEventListener("keydown", (event) => {
    if (keyPressed(panel, event)) event.preventDefault();
  });

  let from = NaN;
  const secondsAt = (/** @type {number} */ x) => {
    const [, , s0, s1] = viewOf(panel);
    const share = Math.max(0, Math.min(1, (x - LEFT) / panel.size));
    return edge(page.models[panel.place.model], s0 + share * (s1 - s0));
  };
  strips.addEventListener("pointerdown", (event) => {
    from = secondsAt(event.offsetX);
    strips.setPointerCapture(event.pointerId);
  });
  strips.addEventListener("pointerup", (event) => {
    const ends = [from, secondsAt(event.offsetX)].sort((a, b) => a - b);
    const utterance = page.utterances[state.utterance];
    // A click plays from there to the end of what is seen.
    const to = ends[1] - ends[0] < 0.02 ? secondsAt(Infinity) : ends[1];
    if (Number.isFinite(from)) void play(utterance, Math.max(0, ends[0]), Math.min(to, utterance.seconds));
    from = NaN;
  });
}

/**
 * Point at a pixel of the canvas.
 * @param {Panel} panel
 * @param {number} x
 * @param {number} y
 */
function point(panel, x, y) {
  const total = panel.map?.positions ?? 1;
  const [t0, t1, s0, s1] = viewOf(panel);
  const within = (/** @type {number} */ value) => Math.max(0, Math.min(total - 1, Math.floor(value)));
  update({
    query: within(t0 + (y / panel.size) * (t1 - t0)),
    key: within(s0 + (x / panel.size) * (s1 - s0)),
  });
}

/**
 * Play the query that is pointed at, then the key.
 * @param {Panel} panel
 */
function hearPointed(panel) {
  const { map, place } = panel;
  if (!map || state.query === null || state.key === null) return;
  const model = page.models[place.model];
  const at = (/** @type {number} */ position) => middleOf(model, map, Math.floor(position / map.factor));
  void playPair(page.utterances[state.utterance], at(state.query), at(state.key));
}

/**
 * Move what is seen by so many pixels from where it was.
 * @param {Panel} panel
 * @param {[number, number, number, number]} view
 * @param {number} x
 * @param {number} y
 */
function pan(panel, view, x, y) {
  const [t0, t1, s0, s1] = view;
  const total = panel.map?.positions ?? 1;
  const move = (/** @type {number} */ first, /** @type {number} */ last, /** @type {number} */ by) => {
    const start = Math.max(0, Math.min(total - (last - first), first - by));
    return [start, start + last - first];
  };
  const [a, b] = move(t0, t1, (y / panel.size) * (t1 - t0));
  const [c, d] = move(s0, s1, (x / panel.size) * (s1 - s0));
  see(panel, [a, b, c, d]);
}

/**
 * Zoom in by a factor around a point given as shares of the map's width and height.
 * @param {Panel} panel
 * @param {number} by
 * @param {number} [x]
 * @param {number} [y]
 */
export function zoom(panel, by, x = 0.5, y = 0.5) {
  const total = panel.map?.positions ?? 1;
  const [t0, t1, s0, s1] = viewOf(panel);
  const around = (/** @type {number} */ first, /** @type {number} */ last, /** @type {number} */ share) => {
    const size = Math.min(total, Math.max(CLOSEST, (last - first) / by));
    const at = first + share * (last - first);
    const start = Math.max(0, Math.min(total - size, at - share * size));
    return [start, start + size];
  };
  const [a, b] = around(t0, t1, y);
  const [c, d] = around(s0, s1, x);
  see(panel, [a, b, c, d]);
}

/**
 * See so many positions; everything is no view at all. Kept in seconds, which all models share.
 * @param {Panel} panel
 * @param {[number, number, number, number]} view
 */
function see(panel, view) {
  const total = panel.map?.positions ?? 1;
  const model = page.models[panel.place.model];
  const whole = view[0] <= 0 && view[2] <= 0 && view[1] >= total && view[3] >= total;
  const seconds = /** @type {[number, number, number, number]} */ (view.map((each) => edge(model, each)));
  update({ view: whole ? null : seconds });
}

/**
 * What a key does on a map; whether it does anything.
 * @param {Panel} panel
 * @param {KeyboardEvent} event
 */
function keyPressed(panel, event) {
  const { map, place } = panel;
  if (!map || event.altKey || event.ctrlKey || event.metaKey) return false;
  const step = event.shiftKey ? 10 : 1;
  /** @type {Record<string, [number, number]>} */
  const moves = { ArrowUp: [-step, 0], ArrowDown: [step, 0], ArrowLeft: [0, -step], ArrowRight: [0, step] };
  const move = moves[event.key];
  if (move) {
    const within = (/** @type {number | null} */ at, /** @type {number} */ by) =>
      at === null ? Math.floor(map.positions / 2) : Math.max(0, Math.min(map.positions - 1, at + by * map.factor));
    update({ query: within(state.query, move[0]), key: within(state.key, move[1]) });
    const utterance = page.utterances[state.utterance];
    speak(rowText(page.models[place.model], utterance, map, /** @type {number} */ (state.query)));
  } else if (event.key === "Enter") hearPointed(panel);
  else if (event.key === "+" || event.key === "=") zoom(panel, ZOOM);
  else if (event.key === "-") zoom(panel, 1 / ZOOM);
  else if (event.key === "0") update({ view: null });
  else if (event.key === "Escape") update({ query: null, key: null });
  else return false;
  return true;
}

