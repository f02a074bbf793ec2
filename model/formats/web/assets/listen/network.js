/* The network of model.onnx: what the file says of itself, and probabilities of windows by onnxruntime-web. */
const RUNTIME = new URL("../node_modules/onnxruntime-web/dist/ort.wasm.bundle.min.mjs", import.meta.url).href;
const METADATA_PROPS = 14; // the field of ModelProto in onnx.proto; each entry has a key, field 1, and a value, field 2
const BATCH_SAMPLES = 2 ** 19;

/* Fields of a message of Protocol Buffers: [number, content], the content of those alone that have a length. */
function* fields(bytes) {
  let place = 0;
  const varint = () => {
    let value = 0;
    for (let scale = 1; ; scale *= 128) {
      if (place >= bytes.length) throw new Error("the file ends in the middle of a field");
      const byte = bytes[place++];
      value += (byte & 127) * scale; // no shifts, which end at 32 bits
      if (byte < 128) return value;
    }
  };
  while (place < bytes.length) {
    const tag = varint();
    const kind = tag % 8;
    let length = 0;
    if (kind === 0) varint();
    else if (kind === 1) length = 8;
    else if (kind === 5) length = 4;
    else if (kind === 2) length = varint();
    else throw new Error(`it is not a file of ONNX: a field of kind ${kind}`);
    if (place + length > bytes.length) throw new Error("the file ends in the middle of a field");
    if (kind === 2) yield [Math.floor(tag / 8), bytes.subarray(place, place + length)];
    place += length;
  }
}

/* The metadata of a file of ONNX, a Map of texts. */
export function readMetadata(bytes) {
  const text = new TextDecoder();
  const found = new Map();
  for (const [number, content] of fields(bytes)) {
    if (number !== METADATA_PROPS) continue;
    const entry = new Map(fields(content));
    found.set(text.decode(entry.get(1)), text.decode(entry.get(2)));
  }
  return found;
}

async function loadRuntime() {
  try {
    return await import(RUNTIME);
  } catch (error) {
    const wanted = await (await fetch(new URL("../package.json", import.meta.url))).json();
    const [[name, version]] = Object.entries(wanted.dependencies);
    throw new Error(`The runtime ${name} ${version} is missing: run "npm install --ignore-scripts" in the folder of ` +
      `this page, whose package.json names it, and load the page again. (${error.message})`);
  }
}

export class Network {
  /* Loads the file at a URL; each error is a sentence for the user. */
  static async load(url) {
    const [ort, answer] = await Promise.all([loadRuntime(), fetch(url, { cache: "no-store" })]);
    if (!answer.ok) throw new Error(`The network ${url} cannot be read: the server says ${answer.status}.`);
    const bytes = new Uint8Array(await answer.arrayBuffer());
    let description = null;
    try {
      description = JSON.parse(readMetadata(bytes).get("soundmill") ?? "null");
    } catch (error) {
      throw new Error(`${url} cannot be read: ${error.message}.`);
    }
    if (!description) throw new Error(`${url} does not say what it takes: export it by model.export --format onnx.`);
    ort.env.wasm.numThreads = 1; // more need headers of the server that python -m http.server does not send
    try {
      return new Network(ort, description, await ort.InferenceSession.create(bytes));
    } catch (error) {
      throw new Error(`onnxruntime-web ${ort.env.versions.web} cannot run ${url}: ${error.message}`);
    }
  }

  constructor(ort, description, session) {
    this.tensor = ort.Tensor;
    this.session = session;
    this.classes = description.classes;
    this.rateHz = description.sample_rate_hz;
    this.clipSamples = description.clip_samples; // null: it takes waveforms of any length, all samples real
    this.channels = description.spec.channels ?? "mean";
    this.thresholds = description.thresholds && this.classes.map((label) => description.thresholds[label]);
    this.targetPrecision = description.target_precision;
    this.name = description.network;
  }

  /* How many windows of some samples are to be given at a time. */
  batch(samples) {
    return Math.max(1, Math.floor(BATCH_SAMPLES / samples));
  }

  /* The probabilities, by the temperature of the file, of windows of one length: a Float32Array for each. */
  async probabilities(windows) {
    const samples = windows[0].length;
    const together = new Float32Array(windows.length * samples);
    windows.forEach((window, number) => together.set(window, number * samples));
    const input = new this.tensor("float32", together, [windows.length, samples]);
    const outputs = await this.session.run({ [this.session.inputNames[0]]: input }, ["probabilities"]);
    const count = this.classes.length;
    return windows.map((_, number) => outputs.probabilities.data.slice(number * count, (number + 1) * count));
  }
}
