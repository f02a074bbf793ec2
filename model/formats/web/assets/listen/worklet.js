/* Hands on what a microphone gives, in blocks of all its channels. */
const BLOCK_SAMPLES = 1024;

class Tap extends AudioWorkletProcessor {
  constructor() {
    super();
    this.parts = [];
  }

  process([channels]) {
    if (channels.length) this.parts.push(channels.map((channel) => channel.slice()));
    if (this.parts.length && this.parts.length * this.parts[0][0].length >= BLOCK_SAMPLES) {
      const block = this.parts[0].map((_, number) => {
        const joined = new Float32Array(this.parts.length * this.parts[0][0].length);
        this.parts.forEach((part, place) => joined.set(part[number], place * part[number].length));
        return joined;
      });
      this.parts = [];
      this.port.postMessage(block, block.map((channel) => channel.buffer));
    }
    return true;
  }
}

registerProcessor("tap", Tap);
