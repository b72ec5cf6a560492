// Bytes of a sound in, what is heard of it out, and when.

import { bytesOf } from "./data.js";

/** @typedef {import("./data.js").Utterance} Utterance */

export const RATE = 16000;
const AROUND = 0.1;
const PAUSE = 0.05;

/** @type {Map<string, Promise<AudioBuffer>>} */
const buffers = new Map();
/** @type {AudioContext | null} */
let context = null;
/** @type {{nodes: AudioBufferSourceNode[], from: number, to: number, began: number, moves: boolean} | null} */
let playing = null;
/** @type {Set<(seconds: number | null) => void>} */
const watchers = new Set();

/**
 * The samples of an utterance, at the rate at which the model heard them.
 * @param {Utterance} utterance
 */
export function soundOf(utterance) {
  let sound = buffers.get(utterance.id);
  if (!sound) {
    // Decoded by a context of 16 kHz: no sample is changed.
    const bytes = bytesOf(utterance.sound);
    sound = new OfflineAudioContext(1, 1, RATE).decodeAudioData(bytes.buffer);
    buffers.set(utterance.id, sound);
  }
  return sound;
}

/**
 * Have a part of a sound played in a context, from a time of the context's clock on.
 * @param {BaseAudioContext} where
 * @param {AudioBuffer} sound
 * @param {number} from seconds
 * @param {number} to
 * @param {number} when
 */
export function schedule(where, sound, from, to, when) {
  const node = where.createBufferSource();
  node.buffer = sound;
  node.connect(where.destination);
  node.start(when, from, to - from);
  return node;
}

/**
 * Play a part of an utterance; whoever watches is told where it is.
 * @param {Utterance} utterance
 * @param {number} from
 * @param {number} to
 */
export async function play(utterance, from, to) {
  const sound = await soundOf(utterance);
  const clock = running();
  stop();
  const began = clock.currentTime + 0.02;
  const node = schedule(clock, sound, from, Math.min(to, sound.duration), began);
  playing = { nodes: [node], from, to: Math.min(to, sound.duration), began, moves: true };
  node.addEventListener("ended", () => ended(node));
  requestAnimationFrame(tick);
}

/**
 * Play 200 ms around one time, then around another.
 * @param {Utterance} utterance
 * @param {number} first
 * @param {number} second
 */
export async function playPair(utterance, first, second) {
  const sound = await soundOf(utterance);
  const clock = running();
  stop();
  const parts = pairOf(first, second, sound.duration, clock.currentTime + 0.02);
  const nodes = parts.map(({ from, to, when }) => schedule(clock, sound, from, to, when));
  playing = { nodes, from: parts[0].from, to: parts[1].to, began: parts[0].when, moves: false };
  nodes[1].addEventListener("ended", () => ended(nodes[1]));
}

/**
 * When each of two parts begins and what it holds.
 * @param {number} first
 * @param {number} second
 * @param {number} duration
 * @param {number} when
 */
function pairOf(first, second, duration, when) {
  const parts = [first, second].map((seconds) => ({
    from: Math.max(0, seconds - AROUND),
    to: Math.min(duration, seconds + AROUND),
  }));
  return [
    { ...parts[0], when },
    { ...parts[1], when: when + (parts[0].to - parts[0].from) + PAUSE },
  ];
}

/** Stop what is played. */
export function stop() {
  for (const node of playing?.nodes ?? []) node.stop();
  playing = null;
  tell(null);
}

/** Whether something is played from beginning to end. */
export function isPlaying() {
  return playing !== null && playing.moves;
}

/**
 * Call a function with the seconds that are heard, and with null at the end.
 * @param {(seconds: number | null) => void} watcher
 */
export function watch(watcher) {
  watchers.add(watcher);
}

function running() {
  context ??= new AudioContext();
  void context.resume();
  return context;
}

/** @param {AudioBufferSourceNode} node */
function ended(node) {
  if (!playing?.nodes.includes(node)) return;
  playing = null;
  tell(null);
}

function tick() {
  if (!playing || !context) return;
  const heard = playing.from + context.currentTime - playing.began;
  tell(Math.min(Math.max(heard, playing.from), playing.to));
  requestAnimationFrame(tick);
}

/** @param {number | null} seconds */
function tell(seconds) {
  for (const watcher of watchers) watcher(seconds);
}
