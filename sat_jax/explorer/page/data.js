// The page's JSON and blobs in; maps, sounds and tables that the other modules ask for out.

/**
 * A table (layers, heads); null for pruned heads.
 * @typedef {(number | null)[][]} Table
 * @typedef {{name: string, label: string, values: Table, low: Table, high: Table,
 *   rank: Table | null, rankLow: Table | null, rankHigh: Table | null}} Metric
 * @typedef {{ordering: string, pruned: number[], value: number[], low: number[], high: number[]}} Curve
 * @typedef {{name: string, label: string, lower: boolean, chance: number | null, curves: Curve[]}} Task
 * @typedef {{tasks: Task[], orders: Record<string, number[][]>}} Ablation
 * @typedef {{radii: number[], uniform: number[], curves: (number[] | null)[][]}} Cumulative
 * @typedef {{blob: string, phones: string[]}} Relation
 * @typedef {{r: Table, low: Table, high: Table, even: number, why: string}} Segments
 * @typedef {{key: string, name: string, control: boolean, layers: number, heads: number,
 *   seconds: number, start: number, metrics: Metric[], category: string[][], share: Table,
 *   utterances: number, operations: string[][], cumulative: Cumulative | null, relation: Relation | null,
 *   segments: Segments | null, ablation: Ablation | null, missing: string[]}} Model
 * @typedef {{start: number, end: number, label: string}} Phone
 * @typedef {{blob: string, frames: number, bins: number, hop: number, start: number}} Spectrogram
 * @typedef {{id: string, speaker: string, seconds: number, phones: Phone[], sound: string,
 *   spectrogram: Spectrogram}} Utterance
 * @typedef {{model: number, utterance: number, positions: number, factor: number, blob: string,
 *   ends: number[], side: number, thumbnails: string, boundaries: (number[] | null)[][] | null}} Maps
 * @typedef {{title: string, notes: string[], decades: number, categories: string[],
 *   colours: Record<string, string>, models: Model[], utterances: Utterance[], maps: Maps[]}} Page
 */

/**
 * A decoded map: codes of side x side pixels, each the mean of factor x factor positions.
 * @typedef {{codes: Uint8Array, side: number, factor: number, positions: number}} DecodedMap
 */

/** @type {Page} */
export const page = JSON.parse(document.getElementById("data")?.textContent ?? "{}");

const KEPT = 160;
/** @type {Map<string, Promise<DecodedMap | null>>} */
const decoded = new Map();
/** @type {Map<string, string>} */
const texts = new Map();
/** @type {Map<string, Promise<Float32Array>>} */
const relations = new Map();

/** Probability that each code stands for. @type {Float64Array} */
export const PROBS = Float64Array.from({ length: 256 }, (_, code) =>
  code === 0 ? 0 : 10 ** (page.decades * ((code - 1) / 254 - 1)),
);

/**
 * The base64 text of a blob.
 * @param {string} name
 */
function textOf(name) {
  let text = texts.get(name);
  if (text === undefined) {
    text = document.getElementById(`blob-${name}`)?.textContent ?? "";
    texts.set(name, text);
  }
  return text;
}

/**
 * Bytes of a blob, or of a part of it; a part begins at a multiple of 3.
 * @param {string} name
 * @param {number} [start]
 * @param {number} [end]
 */
export function bytesOf(name, start = 0, end = undefined) {
  const text = textOf(name);
  const part = text.slice((start / 3) * 4, end === undefined ? undefined : Math.ceil(end / 3) * 4);
  const binary = atob(part);
  const count = end === undefined ? binary.length : end - start;
  const bytes = new Uint8Array(count);
  for (let i = 0; i < count; i++) bytes[i] = binary.charCodeAt(i);
  return bytes;
}

/**
 * What was deflated into bytes.
 * @param {Uint8Array<ArrayBuffer>} bytes
 */
async function inflate(bytes) {
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate-raw"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

/**
 * The maps of a model on an utterance; undefined where the page has none.
 * @param {number} model
 * @param {number} utterance
 */
export function mapsOf(model, utterance) {
  return page.maps.find((each) => each.model === model && each.utterance === utterance);
}

/**
 * The map of one head, decoded when it is first asked for; null for a pruned head.
 * @param {Maps} maps
 * @param {number} head of all heads of all layers
 * @returns {Promise<DecodedMap | null>}
 */
export function mapOf(maps, head) {
  const key = `${maps.blob}/${head}`;
  let found = decoded.get(key);
  if (!found) {
    found = decode(maps, head);
    if (decoded.size >= KEPT) decoded.delete(/** @type {string} */ (decoded.keys().next().value));
  }
  decoded.delete(key);
  decoded.set(key, found);
  return found;
}

/**
 * @param {Maps} maps
 * @param {number} head
 */
async function decode(maps, head) {
  const start = head ? Math.ceil(maps.ends[head - 1] / 3) * 3 : 0;
  const end = maps.ends[head];
  if (end <= start) return null;
  const codes = await inflate(bytesOf(maps.blob, start, end));
  const { factor, positions } = maps;
  return { codes, side: Math.ceil(positions / factor), factor, positions };
}

/**
 * Small maps of all heads, side x side codes of each, one after the other.
 * @param {Maps} maps
 */
export async function thumbnailsOf(maps) {
  return inflate(bytesOf(maps.thumbnails));
}

/**
 * Phone relation maps of a model: float32, (heads, phones, phones), then the same elsewhere.
 * @param {Relation} relation
 */
export function relationOf(relation) {
  let found = relations.get(relation.blob);
  if (!found) {
    found = inflate(bytesOf(relation.blob)).then((bytes) => new Float32Array(bytes.buffer));
    relations.set(relation.blob, found);
  }
  return found;
}

/**
 * The log-mel spectrogram of an utterance, one byte a cell, (frames, bins).
 * @param {Utterance} utterance
 */
export async function spectrogramOf(utterance) {
  return inflate(bytesOf(utterance.spectrogram.blob));
}

/**
 * Time in seconds of the edge before a position.
 * @param {Model} model
 * @param {number} position
 */
export function edge(model, position) {
  return model.start + (position - 0.5) * model.seconds;
}

/**
 * The phone that sounds at a time; empty where none is known.
 * @param {Utterance} utterance
 * @param {number} seconds
 */
export function phoneAt(utterance, seconds) {
  return utterance.phones.find((each) => each.start <= seconds && seconds < each.end)?.label ?? "";
}
