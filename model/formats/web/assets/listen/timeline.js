/* Labels by time, drawn: a lane for each label, where there are many for the most frequent ones and one for the others; a
   bar for each window, paler if less probable. */
const LANES = 6;
const [LANE_PIXELS, AXIS_PIXELS] = [26, 24];
const STEPS_SECONDS = [0.1, 0.2, 0.5, 1, 2, 5, 10, 30, 60, 120, 300, 600, 1800, 3600];
const LEAST_STEP_PIXELS = 60;

export class Timeline {
  constructor(canvas) {
    this.canvas = canvas;
  }

  /* Draws windows, objects with start, end, label (null without one) and probability, between two seconds. */
  draw(windows, from, to, at = null) {
    const shown = windows.filter((window) => window.label !== null && window.end > from && window.start < to);
    const counts = new Map();
    for (const { label } of shown) counts.set(label, (counts.get(label) ?? 0) + 1);
    const labels = [...counts.keys()].sort((one, other) => counts.get(other) - counts.get(one));
    const others = labels.length > LANES ? labels.splice(LANES - 1) : [];
    const lanes = labels.map((label) => ({ name: label, labels: [label] }));
    if (others.length) lanes.push({ name: `${others.length} others`, labels: others });
    const said = lanes.map((lane) => `${lane.name} ${lane.labels.reduce((sum, label) => sum + counts.get(label), 0)}`);
    this.canvas.setAttribute("aria-label", lanes.length
      ? `Labels from ${from.toFixed(1)} to ${to.toFixed(1)} s: ${said.join(", ")}`
      : "Labels by time: nothing yet");
    const style = getComputedStyle(document.documentElement);
    const colour = (name) => style.getPropertyValue(`--${name}`);
    const [width, height] = [this.canvas.clientWidth, this.canvas.clientHeight];
    this.canvas.width = width * devicePixelRatio;
    this.canvas.height = height * devicePixelRatio;
    const pen = this.canvas.getContext("2d");
    pen.scale(devicePixelRatio, devicePixelRatio);
    pen.font = `13px ${getComputedStyle(document.body).fontFamily}`;
    pen.textBaseline = "middle";
    const left = Math.min(width / 3, Math.max(50, ...lanes.map((lane) => pen.measureText(lane.name).width + 12)));
    this.place = (seconds) => left + ((seconds - from) / Math.max(1e-9, to - from)) * (width - left);
    this.seconds = (pixels) => from + ((pixels - left) / (width - left)) * (to - from);
    const perPixel = (to - from) / Math.max(1, width - left);
    const step = STEPS_SECONDS.find((seconds) => seconds >= perPixel * LEAST_STEP_PIXELS) ?? STEPS_SECONDS.at(-1);
    pen.lineWidth = 1;
    for (let mark = Math.ceil(from / step - 1e-9) * step; mark <= to + 1e-9; mark += step) {
      pen.strokeStyle = colour("line");
      pen.beginPath();
      pen.moveTo(this.place(mark), 0);
      pen.lineTo(this.place(mark), height - AXIS_PIXELS);
      pen.stroke();
      pen.fillStyle = colour("soft");
      pen.textAlign = this.place(mark) > width - 30 ? "right" : "center";
      pen.fillText(`${+mark.toFixed(1)} s`, this.place(mark), height - AXIS_PIXELS / 2);
    }
    lanes.forEach((lane, number) => {
      const middle = (number + 0.5) * LANE_PIXELS;
      pen.globalAlpha = 1;
      pen.fillStyle = colour("ink");
      pen.textAlign = "left";
      pen.save();
      pen.beginPath();
      pen.rect(0, middle - LANE_PIXELS / 2, left - 8, LANE_PIXELS);
      pen.clip();
      pen.fillText(lane.name, 0, middle);
      pen.restore();
      pen.fillStyle = colour("accent");
      for (const window of shown) {
        if (!lane.labels.includes(window.label)) continue;
        const [begin, end] = [Math.max(left, this.place(window.start)), Math.min(width, this.place(window.end))];
        pen.globalAlpha = 0.25 + 0.75 * window.probability;
        pen.fillRect(begin, middle - 8, Math.max(1.5, end - begin - 1), 16);
      }
      pen.globalAlpha = 1;
    });
    if (at !== null) {
      pen.fillStyle = colour("focus");
      pen.fillRect(this.place(at) - 1, 0, 2, height - AXIS_PIXELS);
    }
  }
}
