/* What all pages share: their data, elements, numbers, tables that sort, charts, and the one player. */
"use strict";
const soundmill = (() => {
  const data = JSON.parse(document.getElementById("data").textContent);

  /* Names and labels are given as children or values and never as markup. */
  function element(tag, attributes = {}, ...children) {
    const made = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) {
      if (value === null || value === undefined || value === false) continue;
      if (name === "class") made.className = value;
      else if (typeof value === "function") made.addEventListener(name, value);
      else made.setAttribute(name, value === true ? "" : value);
    }
    made.append(...children.filter((child) => child !== null && child !== undefined));
    return made;
  }

  function notice(text) {
    const place = document.getElementById("notice");
    place.textContent = text;
    place.hidden = false;
  }

  const counts = new Intl.NumberFormat("en"); // made once: toLocaleString makes one for each number
  const names = new Intl.Collator("en", { numeric: true }); // 2 stands before 10
  const format = {
    count: (number) => counts.format(number),
    share: (number, digits = 1) => (number === null ? "–" : `${(100 * number).toFixed(digits)} %`),
    fixed: (number, digits = 3) => (number === null ? "–" : number.toFixed(digits)),
    clock(seconds) {
      const whole = Math.floor(seconds + 1e-9);
      const parts = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60, whole % 60];
      const shown = parts.map((part) => String(part).padStart(2, "0"));
      const rest = (seconds - whole).toFixed(2).slice(1);
      return (parts[0] ? shown.join(":") : shown.slice(1).join(":")) + (rest === ".00" ? "" : rest);
    },
  };

  function bytes(text) {
    return Uint8Array.from(atob(text), (character) => character.charCodeAt(0));
  }

  /* One sound at a time, so that it is always clear what is heard. */
  const audio = element("audio", { id: "player", preload: "auto" });
  document.body.append(audio);
  const urls = new Map();
  let playing = null;
  const listeners = new Set();

  function tell() {
    for (const listener of listeners) listener(playing, audio);
  }

  function frame() {
    tell();
    if (!audio.paused) requestAnimationFrame(frame);
  }
  audio.addEventListener("play", () => requestAnimationFrame(frame));
  for (const kind of ["pause", "ended", "seeked"]) audio.addEventListener(kind, tell);
  audio.addEventListener("error", () => notice("This browser cannot play that sound."));

  /* Sounds are played as they are, or, once that is asked for, each as loud as full scale lets it be. */
  const LOUDEST_GAIN = 1000; // what is quieter than 60 dB below full scale is little but noise of its 16 bits
  let context = null;
  let gain = null;
  let isLouder = false;

  function setGain() {
    if (gain) gain.gain.value = isLouder && playing ? Math.min(LOUDEST_GAIN, 1 / Math.max(playing.peak, 1e-6)) : 1;
  }

  function makeLouder(isWanted) {
    if (isWanted && !context) {
      try {
        context = new AudioContext();
        gain = context.createGain();
        context.createMediaElementSource(audio).connect(gain).connect(context.destination);
      } catch (error) {
        notice(`This browser cannot make sounds louder: ${error.message}`);
        return false;
      }
    }
    context?.resume();
    isLouder = isWanted;
    setGain();
    return isLouder;
  }

  function select(sound) {
    if (playing === sound) return;
    if (!urls.has(sound)) urls.set(sound, URL.createObjectURL(new Blob([bytes(sound.sound)], { type: sound.type })));
    playing = sound;
    setGain();
    audio.src = urls.get(sound);
  }

  /* Plays a sound, an object with `sound` (base64) and `type`, from a second of it on. */
  function play(sound, fromSeconds = 0) {
    if (!sound.sound) return;
    select(sound);
    const start = () => {
      audio.currentTime = fromSeconds;
      audio.play().catch((error) => {
        if (error.name !== "AbortError") notice(`The sound cannot be played: ${error.message}`);
      });
    };
    if (audio.readyState >= 1) start();
    else audio.addEventListener("loadedmetadata", start, { once: true });
  }

  function toggle(sound) {
    if (playing === sound && !audio.paused) audio.pause();
    else if (playing === sound && !audio.ended && audio.currentTime > 0) audio.play();
    else play(sound);
  }

  const player = {
    play,
    toggle,
    makeLouder,
    gain: () => gain?.gain.value ?? 1,
    pause: () => audio.pause(),
    isPlaying: (sound) => playing === sound && !audio.paused,
    listen: (listener) => listeners.add(listener),
  };

  /* Draws the smallest and the largest samples of columns, which are as large as can be: else a quiet sound is a line. */
  function drawEnvelope(canvas, text) {
    const values = new Int8Array(bytes(text).buffer);
    const columns = values.length / 2;
    canvas.width = columns * 2;
    canvas.height = 60;
    const context = canvas.getContext("2d");
    const loudest = Math.max(1, ...values.map(Math.abs));
    context.fillStyle = getComputedStyle(document.documentElement).getPropertyValue("--accent");
    for (let column = 0; column < columns; column += 1) {
      const [low, high] = [values[2 * column] / loudest, values[2 * column + 1] / loudest];
      context.fillRect(2 * column, 30 - 29 * high, 2, Math.max(1, 29 * (high - low)));
    }
  }

  /* Makes the columns of a table sortable whose header cells have a button; cells may have `data-value`. Returns what
     sorts it again, as it was sorted, when values have changed. */
  function sortable(table) {
    const body = table.tBodies[0];
    const heads = [...table.tHead.rows[0].cells];
    const sort = () => {
      const column = heads.findIndex((head) => head.hasAttribute("aria-sort"));
      if (column < 0) return;
      const isDescending = heads[column].getAttribute("aria-sort") === "descending";
      const key = (row) => {
        const cell = row.cells[column];
        return cell.dataset.value === undefined ? cell.textContent : cell.dataset.value === "" ? null : Number(cell.dataset.value);
      };
      const order = ([first], [second]) => {
        if (first === null || second === null) return (first === null) - (second === null); // what has no value is last
        const difference = typeof first === "number" ? first - second : names.compare(first, second);
        return isDescending ? -difference : difference;
      };
      const before = [...body.rows];
      const after = before.map((row) => [key(row), row]).sort(order).map(([, row]) => row);
      if (after.some((row, place) => row !== before[place])) body.append(...after);
    };
    heads.forEach((head, column) => {
      head.querySelector("button")?.addEventListener("click", () => {
        const known = head.getAttribute("aria-sort");
        const isNumber = (row) => row.cells[column].dataset.value !== undefined;
        const isDescending = known ? known === "ascending" : [...body.rows].some(isNumber);
        for (const other of heads) other.removeAttribute("aria-sort");
        head.setAttribute("aria-sort", isDescending ? "descending" : "ascending");
        sort();
      });
    });
    return sort;
  }

  const WHOLE_STEPS = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10_000];
  const COLOURS = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00"];

  /* Draws lines with uPlot into a figure that has a caption; it follows the width of the page and light and dark.
     series: [{label, values, dash?, points?}]; options: {x, y, yRange?, distribution?, areWhole?}, the last
     one where places are whole numbers. Of what is returned, `mark(x)`
     draws a line at a place of the x axis. */
  function chart(figure, places, series, options) {
    const host = element("div", { "aria-hidden": "true" });
    figure.prepend(host);
    let plot = null;
    let marked = null;
    const drawMark = ({ ctx, bbox, valToPos }) => {
      if (marked === null) return;
      const left = Math.round(valToPos(marked, "x", true));
      ctx.fillStyle = getComputedStyle(document.documentElement).getPropertyValue("--ink").trim();
      ctx.fillRect(left - devicePixelRatio, bbox.top, 2 * devicePixelRatio, bbox.height);
    };
    const draw = () => {
      if (plot) plot.destroy();
      const style = getComputedStyle(document.documentElement);
      const [ink, line] = [style.getPropertyValue("--ink").trim(), style.getPropertyValue("--line").trim()];
      const axis = { stroke: ink, grid: { stroke: line, width: 1 }, ticks: { stroke: line } };
      plot = new uPlot(
        {
          width: Math.max(240, host.clientWidth || figure.clientWidth),
          height: 260,
          cursor: { drag: { x: false, y: false } },
          hooks: { draw: [drawMark] },
          scales: { x: { time: false, distr: options.distribution || 1, ...(options.xRange ? { range: options.xRange } : {}) },
                    y: options.yRange ? { range: options.yRange } : {} },
          axes: [{ ...axis, label: options.x, ...(options.areWhole ? { incrs: WHOLE_STEPS } : {}) }, { ...axis, label: options.y, size: (_, values) => 24 + 8 * Math.max(3, ...(values || []).map((value) => String(value).length)) }],
          series: [{ label: options.x }, ...series.map((one, number) => ({
            label: one.label,
            stroke: one.colour || COLOURS[number % COLOURS.length],
            width: 2,
            dash: one.dash,
            points: { show: one.points !== false },
            spanGaps: true,
          }))],
        },
        [places, ...series.map((one) => one.values)],
        host,
      );
    };
    const mark = (place) => {
      marked = place;
      plot.redraw(false);
    };
    draw();
    let width = host.clientWidth;
    new ResizeObserver(() => {
      if (Math.abs(host.clientWidth - width) < 2) return;
      width = host.clientWidth;
      plot.setSize({ width: Math.max(240, width), height: 260 });
    }).observe(host);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
    return { setData: (values) => plot.setData(values), mark };
  }

  return { data, element, notice, format, bytes, player, drawEnvelope, sortable, chart, COLOURS };
})();
