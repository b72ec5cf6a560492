// Canvases with as many pixels as the screen has, and what is drawn on them along time.

import { spectrogramOf } from "./data.js";
import { sequential } from "./colours.js";

/** @typedef {import("./data.js").Utterance} Utterance */

/** @type {Map<string, Promise<HTMLCanvasElement>>} */
const spectrograms = new Map();
/** @type {Map<string, string>} */
const inks = new Map();
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => inks.clear());

/**
 * Colours of the page's style, which follows the system's light or dark one.
 * @param {string} name of a custom property, without its dashes
 */
export function ink(name) {
  let colour = inks.get(name);
  if (colour === undefined) {
    colour = getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
    inks.set(name, colour);
  }
  return colour;
}

/**
 * Set a canvas to so many CSS pixels; gives its context, in CSS pixels, emptied.
 * @param {HTMLCanvasElement} canvas
 * @param {number} width
 * @param {number} height
 */
export function cleared(canvas, width, height) {
  const ratio = devicePixelRatio || 1;
  const [w, h] = [Math.max(1, Math.round(width * ratio)), Math.max(1, Math.round(height * ratio))];
  if (canvas.width !== w || canvas.height !== h) [canvas.width, canvas.height] = [w, h];
  canvas.style.width = `${width}px`;
  canvas.style.height = `${height}px`;
  const context = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d"));
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  context.clearRect(0, 0, width, height);
  context.imageSmoothingEnabled = false;
  return context;
}

/**
 * A canvas of an image's own size.
 * @param {ImageData} image
 */
export function canvasOf(image) {
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [image.width, image.height];
  /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d")).putImageData(image, 0, 0);
  return canvas;
}

/**
 * The spectrogram of an utterance as a canvas of one pixel a cell, low bins at the bottom.
 * @param {Utterance} utterance
 */
export function spectrogramCanvas(utterance) {
  const dark = matchMedia("(prefers-color-scheme: dark)").matches;
  const key = `${dark} ${utterance.id}`;
  let made = spectrograms.get(key);
  if (!made) {
    made = spectrogramOf(utterance).then((cells) => {
      const { frames, bins } = utterance.spectrogram;
      const image = new ImageData(frames, bins);
      const shades = Array.from({ length: 256 }, (_, i) => grey(i, dark));
      const pixels = new Uint32Array(image.data.buffer);
      for (let frame = 0; frame < frames; frame++) {
        for (let bin = 0; bin < bins; bin++) {
          pixels[(bins - 1 - bin) * frames + frame] = shades[cells[frame * bins + bin]];
        }
      }
      return canvasOf(image);
    });
    spectrograms.set(key, made);
  }
  return made;
}

/**
 * Loud is dark on a light page and light on a dark one.
 * @param {number} level
 * @param {boolean} dark
 */
function grey(level, dark) {
  const shade = dark ? 24 + Math.round(0.86 * level) : 255 - Math.round(0.86 * level);
  return ((255 << 24) | (shade << 16) | (shade << 8) | shade) >>> 0;
}

/**
 * Draw a waveform between two times into a box, as the least and the largest sample of a pixel.
 * @param {CanvasRenderingContext2D} context
 * @param {Float32Array} samples
 * @param {number} rate
 * @param {{x: number, y: number, width: number, height: number}} box
 * @param {number} from seconds
 * @param {number} to
 */
export function drawWave(context, samples, rate, box, from, to) {
  let loudest = 1e-4;
  for (const each of samples) loudest = Math.max(loudest, Math.abs(each));
  context.strokeStyle = ink("ink");
  context.lineWidth = 1;
  context.beginPath();
  const middle = box.y + box.height / 2;
  for (let x = 0; x < box.width; x++) {
    const first = Math.floor((from + ((to - from) * x) / box.width) * rate);
    const last = Math.max(first + 1, Math.floor((from + ((to - from) * (x + 1)) / box.width) * rate));
    let [low, high] = [0, 0];
    for (let i = Math.max(first, 0); i < Math.min(last, samples.length); i++) {
      low = Math.min(low, samples[i]);
      high = Math.max(high, samples[i]);
    }
    const scale = (0.48 * box.height) / loudest;
    context.moveTo(box.x + x + 0.5, middle - high * scale - 0.25);
    context.lineTo(box.x + x + 0.5, middle - low * scale + 0.25);
  }
  context.stroke();
}

/**
 * Draw the part of a spectrogram between two times into a box.
 * @param {CanvasRenderingContext2D} context
 * @param {HTMLCanvasElement} picture
 * @param {Utterance} utterance
 * @param {{x: number, y: number, width: number, height: number}} box
 * @param {number} from
 * @param {number} to
 */
export function drawSpectrogram(context, picture, utterance, box, from, to) {
  const { hop, start } = utterance.spectrogram;
  const scale = box.width / (to - from);
  context.save();
  context.beginPath();
  context.rect(box.x, box.y, box.width, box.height);
  context.clip();
  // Cells are centred at their frames.
  const left = box.x + (start - hop / 2 - from) * scale;
  context.drawImage(picture, left, box.y, picture.width * hop * scale, box.height);
  context.restore();
}

/**
 * Draw phones between two times into a box: an edge at each boundary, a label where it fits.
 * @param {CanvasRenderingContext2D} context
 * @param {Utterance} utterance
 * @param {{x: number, y: number, width: number, height: number}} box
 * @param {number} from
 * @param {number} to
 */
export function drawPhones(context, utterance, box, from, to) {
  const scale = box.width / (to - from);
  context.font = "11px system-ui, sans-serif";
  context.textAlign = "center";
  context.textBaseline = "middle";
  context.lineWidth = 1;
  for (const { start, end, label } of utterance.phones) {
    if (end <= from || start >= to) continue;
    const [left, right] = [Math.max(start, from), Math.min(end, to)];
    const x = box.x + (left - from) * scale;
    const width = (right - left) * scale;
    context.strokeStyle = ink("line");
    context.beginPath();
    context.moveTo(x, box.y);
    context.lineTo(x, box.y + box.height);
    context.stroke();
    context.fillStyle = ink("ink");
    if (context.measureText(label).width + 2 < width) {
      context.fillText(label, x + width / 2, box.y + box.height / 2);
    }
  }
}

/**
 * Draw times in seconds under a box.
 * @param {CanvasRenderingContext2D} context
 * @param {{x: number, y: number, width: number, height: number}} box
 * @param {number} from
 * @param {number} to
 */
export function drawTimes(context, box, from, to) {
  context.font = "10px system-ui, sans-serif";
  context.textBaseline = "top";
  context.textAlign = "center";
  context.fillStyle = ink("soft");
  for (const seconds of niceTicks(from, to, Math.max(2, box.width / 70))) {
    const x = box.x + ((seconds - from) / (to - from)) * box.width;
    context.fillRect(x, box.y, 1, 3);
    context.fillText(`${Number(seconds.toFixed(3))} s`, x, box.y + 4);
  }
}

/**
 * Round numbers between two, about so many.
 * @param {number} from
 * @param {number} to
 * @param {number} about
 */
export function niceTicks(from, to, about) {
  const rough = (to - from) / about;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((each) => each * power).find((each) => each >= rough) ?? power;
  const ticks = [];
  for (let at = Math.ceil(from / step - 1e-9); at * step <= to + 1e-9 * step; at++) ticks.push(at * step);
  return ticks;
}

/**
 * A legend: a bar of colours with values below it.
 * @param {HTMLCanvasElement} canvas
 * @param {number} width
 * @param {[number, string][]} ticks share along the bar, and what stands there
 * @param {string} title
 * @param {(share: number) => string} colour
 */
export function drawLegend(canvas, width, ticks, title, colour = sequential) {
  const context = cleared(canvas, width, 42);
  for (let x = 0; x < width; x++) {
    context.fillStyle = colour(x / (width - 1));
    context.fillRect(x, 14, 1, 10);
  }
  context.font = "10px system-ui, sans-serif";
  context.fillStyle = ink("ink");
  context.textBaseline = "top";
  context.textAlign = "left";
  context.fillText(title, 0, 0);
  for (const [share, text] of ticks) {
    const x = Math.max(0, Math.min(1, share)) * (width - 1);
    context.textAlign = share < 0.1 ? "left" : share > 0.9 ? "right" : "center";
    context.fillRect(x, 24, 1, 3);
    context.fillText(text, x, 29);
  }
}
