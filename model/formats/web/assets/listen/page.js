/* The page: a file or the microphone goes in, labels come out. What comes from a name is text and never markup. */
import { Microphone } from "./microphone.js";
import { Network } from "./network.js";
import { Recording, decodeFile, level, oneChannel, wavFile, windowAt, windowStarts } from "./sound.js";
import { Timeline } from "./timeline.js";

const TOP = 5;
const KEPT_SECONDS = 60; // of what the microphone gave
const SHOWN_SECONDS = 30;
const FREE_SECONDS = 2; // a window of the microphone, for a network that takes any length
const ROWS = 300;
const LATE_SECONDS = 2; // a machine that falls behind by more leaves windows out
const HOPS = [1, 1 / 2, 1 / 4, 1 / 8];
const THRESHOLDS = [0.5, 0.7, 0.9];

const at = (id) => document.getElementById(id);
const timeline = new Timeline(at("line"));
let network = null;
let microphone = null;
let recording = null;
let shown = null; // the windows on the page: { name, windows, seconds, isLive }
let current = null; // the window that is shown as now
let turn = 0; // raised by each new sound, so that an old one stops

function notice(text, isCalm = false) {
  at("notice").textContent = text;
  at("notice").hidden = !text;
  at("notice").classList.toggle("calm", isCalm);
}

function element(tag, properties = {}, ...children) {
  const made = Object.assign(document.createElement(tag), properties);
  made.append(...children);
  return made;
}

const count = (number, word, words = `${word}s`) => `${number.toLocaleString("en")} ${number === 1 ? word : words}`;
const clipSamples = () => network.clipSamples ?? FREE_SECONDS * network.rateHz;
const hopSamples = () => Math.max(1, Math.round(Number(at("hop").value) * clipSamples()));

/* As model.predict does: the most probable class, the first of equals, where it reaches its threshold. */
function label(window) {
  const best = window.top[0];
  const choice = at("threshold").value;
  const threshold = choice === "own" ? network.thresholds[best?.id] ?? Infinity : Number(choice);
  return best && best.probability >= threshold ? network.classes[best.id] : null;
}

function ranked(probabilities) {
  const usable = [...probabilities].every(Number.isFinite);
  const ids = usable ? [...probabilities.keys()] : [];
  return ids.sort((one, other) => probabilities[other] - probabilities[one]).slice(0, TOP)
    .map((id) => ({ id, probability: probabilities[id] }));
}

function showNow(window) {
  current = window;
  if (!window) {
    at("label").textContent = "–";
    at("when").textContent = "Nothing has been labelled yet.";
    at("top").replaceChildren();
    return;
  }
  at("label").textContent = window.label ?? "no label";
  at("label").classList.toggle("none", window.label === null);
  at("when").textContent = `${window.start.toFixed(2)} to ${window.end.toFixed(2)} s of ${shown.name}`;
  at("top").replaceChildren(...window.top.map(({ id, probability }) => {
    const bar = element("i");
    bar.style.width = `${100 * probability}%`;
    return element("li", {},
      element("span", { className: "name", title: network.classes[id], textContent: network.classes[id] }),
      element("span", { className: "bar" }, bar),
      element("span", { className: "number", textContent: probability.toFixed(4) }));
  }));
}

function row(window) {
  return element("tr", {},
    element("td", { textContent: window.start.toFixed(2) }),
    element("td", { textContent: window.end.toFixed(2) }),
    element("td", { className: "left", textContent: window.label }),
    element("td", { textContent: window.top[0].probability.toFixed(4) }));
}

function draw() {
  const labelled = shown.windows.filter((window) => window.label !== null);
  const latest = labelled.slice(-ROWS);
  at("rows").tBodies[0].replaceChildren(...(shown.isLive ? latest.reverse() : latest).map(row));
  at("rows-title").textContent = `Windows that got a label: ${labelled.length} of ${shown.windows.length}` +
    (labelled.length > ROWS ? `; the last ${ROWS} stand here` : "");
  drawLine();
  at("download").disabled = !shown.windows.length;
}

function drawLine() {
  const lines = shown.windows.map((window) => ({ ...window, probability: window.top[0]?.probability ?? 0 }));
  const to = shown.isLive ? Math.max(SHOWN_SECONDS, shown.windows.at(-1)?.end ?? 0) : Math.max(shown.seconds, 1e-3);
  timeline.draw(lines, shown.isLive ? to - SHOWN_SECONDS : 0, to, shown.isLive ? null : at("player").currentTime);
}

function add(start, samples, probabilities) {
  const window = { start: start / network.rateHz, end: (start + samples) / network.rateHz, top: ranked(probabilities) };
  window.label = label(window);
  shown.windows.push(window);
  return window;
}

function showLevel(samples) {
  const { decibels, isSilent, isClipped } = level(samples);
  const meter = at("level");
  meter.setAttribute("aria-valuenow", decibels.toFixed(0));
  meter.firstElementChild.style.width = `${Math.max(0, 100 + (100 / 90) * decibels)}%`;
  meter.classList.toggle("clipped", isClipped);
  at("level-text").textContent = isSilent ? "−∞ dB" : `${decibels.toFixed(1).replace("-", "−")} dB`;
}

function begin(name, isLive) {
  turn += 1;
  shown = { name, windows: [], seconds: 0, isLive };
  showNow(null);
  draw();
  at("player").pause();
  at("player").hidden = isLive;
  at("save").disabled = !isLive;
  return turn;
}

async function readFile(file) {
  closeMicrophone();
  const mine = begin(file.name, false);
  notice(`Decoding ${file.name} …`, true);
  const channels = await decodeFile(file, network.rateHz);
  const samples = channels[0].length;
  if (!samples) throw new Error(`${file.name} holds no samples.`);
  if (mine !== turn) return;
  shown.seconds = samples / network.rateHz;
  URL.revokeObjectURL(at("player").src);
  at("player").src = URL.createObjectURL(file);
  showLevel(oneChannel(channels, network.channels));
  const length = network.clipSamples ?? samples;
  const starts = windowStarts(samples, network.clipSamples, hopSamples());
  const step = network.batch(length);
  for (let first = 0; first < starts.length; first += step) {
    const some = starts.slice(first, first + step);
    const windows = some.map((start) => windowAt(channels, start, length, network.channels));
    const found = await network.probabilities(windows);
    if (mine !== turn) return;
    some.forEach((start, number) => add(start, Math.min(length, samples - start), found[number]));
    notice(`${shown.windows.length} of ${count(starts.length, "window")} of ${file.name} …`, true);
    await new Promise((resolve) => setTimeout(resolve)); // the browser draws in between
  }
  showNow(shown.windows[0]);
  draw();
  notice(`${count(starts.length, "window")} of ${file.name}, ${shown.seconds.toFixed(2)} s.`, true);
}

async function listen() {
  const mine = begin("the microphone", true);
  let [next, isBusy, leftOut] = [0, false, 0];

  async function labelWindows() {
    if (isBusy || mine !== turn) return;
    isBusy = true;
    try {
      while (mine === turn && recording.end >= next + clipSamples()) {
        const late = recording.end - next - clipSamples();
        if (late > LATE_SECONDS * network.rateHz) {
          const skipped = Math.floor(late / hopSamples());
          leftOut += skipped;
          next += skipped * hopSamples();
          notice(`This machine is slower than the windows come: ${count(leftOut, "window")} left out.`);
        }
        const start = next;
        const length = clipSamples();
        next += hopSamples();
        const channels = recording.read(start, start + length);
        const [found] = await network.probabilities([windowAt(channels, 0, length, network.channels)]);
        if (mine !== turn) return;
        showNow(add(start, length, found));
        draw();
      }
    } catch (error) {
      closeMicrophone();
      notice(error.message);
    } finally {
      isBusy = false;
    }
  }

  notice("Opening the microphone …", true);
  const opened = await Microphone.open(network.rateHz, network.channels, (block) => {
    if (mine !== turn || !microphone) return;
    recording ??= new Recording(block.length, KEPT_SECONDS * network.rateHz + clipSamples());
    recording.write(block);
    showLevel(block[0]);
    labelWindows();
  }, (sentence) => { closeMicrophone(); notice(sentence); });
  if (mine !== turn) { // meanwhile a person has asked for something else
    opened.close();
    return;
  }
  microphone = opened;
  at("microphone").setAttribute("aria-pressed", "true");
  notice(microphone.changes.length
    ? `This browser changes the sound of the microphone: ${microphone.changes.join(", ")}.`
    : "The microphone is on, as it is: without echo cancellation, noise suppression and automatic gain.",
    !microphone.changes.length);
}

function closeMicrophone() {
  microphone?.close();
  microphone = null;
  at("microphone").setAttribute("aria-pressed", "false");
}

/* Runs what a person asked for; what goes wrong is said. */
async function act(action) {
  try {
    await action();
  } catch (error) {
    notice(error.message);
  }
}

function offer(name, content) {
  const link = element("a", { href: URL.createObjectURL(content), download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}

/* A field of CSV; what a spreadsheet takes for a formula has a sign before it, as in the tables of model.predict. */
const quoted = (text) => (/[,"\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text);
const csvPath = (text) => quoted(/^[=+\-@]/.test(text) ? `./${text}` : text);
const csvLabel = (text) => quoted(/^[=+\-@']/.test(text) ? `'${text}` : text);

function labelsCsv() {
  const lines = shown.windows.filter((window) => window.label !== null).map((window) =>
    [csvPath(shown.name), window.start.toFixed(6), window.end.toFixed(6), csvLabel(window.label),
      window.top[0].probability.toFixed(6)].join(","));
  return ["path,start_seconds,end_seconds,label,probability", ...lines, ""].join("\n");
}

function choices(select, pairs) {
  select.replaceChildren(...pairs.map(([value, text]) => element("option", { value, textContent: text })));
  select.disabled = false;
}

function prepare() {
  const seconds = clipSamples() / network.rateHz;
  const length = network.clipSamples === null ? `whole recordings (of the microphone, ${seconds} s)` : `windows of ${seconds} s`;
  const channels = { mean: "the mean of the channels", loudest: "the loudest channel" }[network.channels];
  at("about").textContent = `${network.name}: ${count(network.classes.length, "class", "classes")}, ${length} at ` +
    `${network.rateHz.toLocaleString("en")} Hz, ${channels ?? `channel ${network.channels}`}. It runs in this browser; no sound leaves it.`;
  choices(at("hop"), HOPS.map((share) => [share, `${+(share * seconds).toFixed(4)} s`]));
  const own = network.thresholds
    ? [["own", `that reach the model's thresholds, for a precision of ${network.targetPrecision}`]] : [];
  choices(at("threshold"), [[0, "of each window"], ...own,
    ...THRESHOLDS.map((share) => [share, `of a probability of ${share} and more`])]);
  for (const id of ["microphone", "file"]) at(id).disabled = false;
  notice("Start the microphone, or choose a file.", true);
}

at("microphone").addEventListener("click", () => act(async () => {
  if (microphone) {
    closeMicrophone();
    notice("The microphone is off.", true);
    return;
  }
  recording = null;
  at("file").value = "";
  await listen();
}));
at("file").addEventListener("change", () => act(async () => {
  const [file] = at("file").files;
  if (file) await readFile(file);
}));
at("hop").addEventListener("change", () => act(async () => {
  const [file] = at("file").files;
  if (shown && !shown.isLive && file) await readFile(file);
}));
at("threshold").addEventListener("change", () => {
  if (!shown) return;
  for (const window of shown.windows) window.label = label(window);
  showNow(current);
  draw();
});
at("player").addEventListener("timeupdate", () => {
  if (!shown || shown.isLive) return;
  const seconds = at("player").currentTime;
  showNow(shown.windows.findLast((window) => window.start <= seconds) ?? shown.windows[0] ?? null);
  drawLine();
});
at("line").addEventListener("click", (event) => {
  if (shown && !shown.isLive && timeline.seconds) {
    at("player").currentTime = Math.max(0, timeline.seconds(event.offsetX));
  }
});
addEventListener("resize", () => { if (shown) drawLine(); });
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => { if (shown) drawLine(); });
at("download").addEventListener("click", () => offer("labels.csv", new Blob([labelsCsv()], { type: "text/csv" })));
at("save").addEventListener("click", () => {
  if (recording) offer("heard.wav", wavFile(recording.read(recording.begin, recording.end), network.rateHz));
});

notice("Loading the network …", true);
await act(async () => {
  network = await Network.load(new URL("../model.onnx", import.meta.url));
  prepare();
});
