/* Samples: from a file or a stretch of the microphone to windows, as soundmill's own scoring cuts them. */
const SHORTEST_PART = 20; // a last window of several is this part of a whole one at least, or it is left out
const SMALLEST_DB = -90;

/* Decodes a file at a rate: a Float32Array for each channel. The browser resamples where the file has another rate. */
export async function decodeFile(file, rateHz) {
  const content = await file.arrayBuffer();
  let buffer = null;
  try {
    buffer = await new OfflineAudioContext(1, 1, rateHz).decodeAudioData(content);
  } catch (error) {
    throw new Error(`This browser cannot decode ${file.name}: convert it to WAV, FLAC or MP3. (${error.message})`);
  }
  return Array.from({ length: buffer.numberOfChannels }, (_, number) => buffer.getChannelData(number));
}

/* One channel of several, as the rule says: "mean", "loudest" (the first of equals), or a number from 1. */
export function oneChannel(channels, rule) {
  if (typeof rule === "number") {
    if (rule > channels.length) {
      throw new Error(`The network takes channel ${rule}, and this sound has ${channels.length}.`);
    }
    return channels[rule - 1];
  }
  if (channels.length === 1) return channels[0];
  if (rule === "loudest") {
    const energies = channels.map((channel) => channel.reduce((sum, sample) => sum + sample * sample, 0));
    return channels[energies.indexOf(Math.max(...energies))];
  }
  return channels[0].map((_, place) => channels.reduce((sum, channel) => sum + channel[place], 0) / channels.length);
}

/* Where the windows of a recording begin: those within it, and one more for a remainder that is not too short. */
export function windowStarts(samples, clipSamples, hopSamples) {
  if (clipSamples === null) return [0];
  const whole = samples < clipSamples ? 0 : Math.floor((samples - clipSamples) / hopSamples) + 1;
  const begin = whole * hopSamples;
  const left = samples - Math.max(begin, begin - hopSamples + clipSamples);
  const isLeftOut = whole > 0 && (left <= 0 || samples - begin < clipSamples / SHORTEST_PART);
  return Array.from({ length: whole + (isLeftOut ? 0 : 1) }, (_, number) => number * hopSamples);
}

/* A window, with zeros at its end where the sound is shorter. */
export function windowAt(channels, start, samples, rule) {
  const window = new Float32Array(samples);
  window.set(oneChannel(channels.map((channel) => channel.subarray(start, start + samples)), rule));
  return window;
}

/* The level of samples in dB below full scale, and whether some of them reach it. */
export function level(samples) {
  let [energy, peak] = [0, 0];
  for (const sample of samples) {
    energy += sample * sample;
    peak = Math.max(peak, Math.abs(sample));
  }
  const decibels = 10 * Math.log10(energy / Math.max(1, samples.length));
  return { decibels: Math.max(SMALLEST_DB, decibels), isSilent: energy === 0, isClipped: peak >= 0.999 };
}

/* The last part of an endless sound of some channels, by the number of the sample since its beginning. */
export class Recording {
  constructor(channels, capacity) {
    this.capacity = capacity;
    this.rings = Array.from({ length: channels }, () => new Float32Array(capacity));
    this.end = 0;
  }

  get begin() {
    return Math.max(0, this.end - this.capacity);
  }

  write(block) {
    block.forEach((samples, channel) => {
      const ring = this.rings[channel];
      samples.forEach((sample, place) => { ring[(this.end + place) % this.capacity] = sample; });
    });
    this.end += block[0].length;
  }

  read(begin, end) {
    return this.rings.map((ring) =>
      Float32Array.from({ length: end - begin }, (_, place) => ring[(begin + place) % this.capacity]));
  }
}

/* A WAV file of 32-bit floating point samples, which keeps each as it was. */
export function wavFile(channels, rateHz) {
  const [count, frames] = [channels.length, channels[0].length];
  const size = 4 * count * frames;
  const view = new DataView(new ArrayBuffer(58 + size));
  const text = (place, word) => [...word].forEach((sign, at) => view.setUint8(place + at, sign.charCodeAt(0)));
  text(0, "RIFF"); view.setUint32(4, 50 + size, true); text(8, "WAVEfmt "); view.setUint32(16, 18, true);
  view.setUint16(20, 3, true); view.setUint16(22, count, true); view.setUint32(24, rateHz, true);
  view.setUint32(28, 4 * count * rateHz, true); view.setUint16(32, 4 * count, true); view.setUint16(34, 32, true);
  text(38, "fact"); view.setUint32(42, 4, true); view.setUint32(46, frames, true);
  text(50, "data"); view.setUint32(54, size, true);
  for (let frame = 0; frame < frames; frame++) {
    channels.forEach((channel, at) => view.setFloat32(58 + 4 * (frame * count + at), channel[frame], true));
  }
  return new Blob([view], { type: "audio/wav" });
}
