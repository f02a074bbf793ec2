/* A microphone at the network's rate, without what browsers do to voices, in blocks of samples. */
const REFUSALS = {
  NotAllowedError: "The browser does not let this page use the microphone: allow it in the settings of the page.",
  NotFoundError: "There is no microphone.",
  NotReadableError: "The microphone cannot be opened: another program may have it.",
  OverconstrainedError: "There is no microphone that can do what the network takes.",
};

export class Microphone {
  /* Opens it; `heard` gets each block, a Float32Array for each channel, and `ended` a sentence where it goes away. */
  static async open(rateHz, rule, heard, ended) {
    if (!navigator.mediaDevices) {
      throw new Error("A browser gives a microphone to pages of this machine (127.0.0.1) or of HTTPS alone.");
    }
    const wanted = { echoCancellation: false, noiseSuppression: false, autoGainControl: false };
    if (typeof rule === "number") wanted.channelCount = { ideal: rule };
    let stream = null;
    try {
      stream = await navigator.mediaDevices.getUserMedia({ audio: wanted });
    } catch (error) {
      throw new Error(REFUSALS[error.name] ?? `The microphone cannot be opened: ${error.message}`);
    }
    const microphone = new Microphone(stream);
    try {
      await microphone.connect(rateHz, heard);
    } catch (error) {
      microphone.close();
      throw new Error(`This browser does not bring the microphone to ${rateHz} Hz: take another browser, or a file. ` +
        `(${error.message})`);
    }
    microphone.track.addEventListener("ended", () => ended("The microphone is gone."));
    return microphone;
  }

  constructor(stream) {
    this.stream = stream;
    [this.track] = stream.getAudioTracks();
    this.channels = this.track.getSettings().channelCount ?? 1;
    /* What the browser does to the sound all the same. */
    this.changes = ["echoCancellation", "noiseSuppression", "autoGainControl"]
      .filter((name) => this.track.getSettings()[name]);
  }

  async connect(rateHz, heard) {
    this.context = new AudioContext({ sampleRate: rateHz });
    await this.context.audioWorklet.addModule(new URL("worklet.js", import.meta.url));
    const tap = new AudioWorkletNode(this.context, "tap", {
      numberOfOutputs: 0, channelCount: this.channels, channelCountMode: "explicit", channelInterpretation: "discrete",
    });
    tap.port.onmessage = (message) => heard(message.data);
    this.context.createMediaStreamSource(this.stream).connect(tap);
    await this.context.resume();
  }

  close() {
    this.track.stop();
    this.context?.close();
  }
}
