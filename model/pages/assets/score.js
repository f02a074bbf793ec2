/* The page of a scoring: one label and one threshold decide what its tables, time lines and sample show. */
"use strict";
(() => {
  const { data, element, player, format, sortable, chart, clips, review, COLOURS } = soundmill;
  const NUM_THRESHOLDS = 101;
  const SAME_SECONDS = 1e-6;
  const MOST_LANES = 8;
  const MOST_ROWS = 300;
  const MOST_LABELS = 300;
  const ALL = -1;
  const filter = { label: ALL, threshold: 0, band: ALL };
  const byId = (id) => document.getElementById(id);
  const seconds = (value) => format.clock(Math.round(value * 100) / 100);

  /* Counts at thresholds, as the page has them, to how many there are from each threshold on. */
  function fromEach(counts) {
    const sums = new Float64Array(NUM_THRESHOLDS);
    if (counts.length === NUM_THRESHOLDS) sums.set(counts);
    else for (let at = 0; at < counts.length; at += 2) sums[counts[at]] = counts[at + 1];
    for (let place = NUM_THRESHOLDS - 2; place >= 0; place -= 1) sums[place] += sums[place + 1];
    return sums;
  }

  const ofLabels = Object.fromEntries(Object.entries(data.sums).map(([name, rows]) => [name, rows.map(fromEach)]));
  const ofAll = Object.fromEntries(Object.entries(ofLabels).map(([name, rows]) => {
    const sums = new Float64Array(NUM_THRESHOLDS);
    for (const row of rows) row.forEach((value, place) => { sums[place] += value; });
    return [name, sums];
  }));
  ofAll.recordings = fromEach(data.recordings);
  const sumsOf = (name) => (filter.label === ALL ? ofAll[name] : ofLabels[name][filter.label]);
  const tenths = new Intl.NumberFormat("en", { minimumFractionDigits: 1, maximumFractionDigits: 1 });
  const minutes = (value) => tenths.format(value / 60);
  const plural = (count, noun) => `${format.count(count)} ${noun}${count === 1 ? "" : "s"}`;
  const threshold = () => (filter.threshold / 100).toFixed(2);

  /* Labels. */
  const classRows = [...document.querySelectorAll("#class-table tbody tr")].map((row) => ({ row, label: Number(row.dataset.label) }));
  const sortClasses = data.labels.length ? sortable(byId("class-table")) : null;
  let sumsChart = null;

  /* Of very many labels the table has the most frequent ones until all are asked for. */
  function hideRare() {
    if (classRows.length <= MOST_LABELS) return;
    const frequent = new Set([...classRows].sort((one, other) => ofLabels.lines[other.label][0] - ofLabels.lines[one.label][0]).slice(0, MOST_LABELS));
    for (const one of classRows) one.row.hidden = !frequent.has(one);
    const more = element("button", { type: "button", class: "more", id: "all-labels" }, `Show all ${format.count(classRows.length)} labels, and not the ${MOST_LABELS} most frequent ones alone`);
    more.addEventListener("click", () => {
      for (const one of classRows) one.row.hidden = false;
      more.remove();
      showLabels();
    });
    byId("class-table").parentElement.after(more);
  }

  function setCell(cell, value, text) {
    if (cell.dataset.value === String(value) && cell.textContent) return;
    cell.dataset.value = value;
    cell.textContent = text(value);
  }

  function showLabels() {
    for (const { row, label } of classRows) {
      if (label === filter.label) row.hidden = false;
      if (row.hidden) continue;
      const [events, lines, covered, recordings] = ["events", "lines", "seconds", "recordings"].map((name) => ofLabels[name][label][filter.threshold]);
      if (data.named[label]) setCell(row.cells[1], events, format.count);
      setCell(row.cells[2], lines, format.count);
      setCell(row.cells[3], covered, minutes);
      setCell(row.cells[4], recordings, format.count);
      row.classList.toggle("chosen", label === filter.label);
    }
    const [events, lines, recordings] = ["events", "lines", "recordings"].map((name) => sumsOf(name)[filter.threshold]);
    const which = filter.label === ALL ? "all labels" : data.labels[filter.label];
    const named = filter.label === ALL || data.named[filter.label];
    byId("filtered").textContent = `At a threshold of ${threshold()}, ${which}: ${named ? `${plural(events, "event")}, ` : ""}${plural(lines, "line")}, ${minutes(sumsOf("seconds")[filter.threshold])} min in ${plural(recordings, "recording")}.`;
    const places = Array.from({ length: NUM_THRESHOLDS }, (_, place) => place / 100);
    const values = ["lines", "events"].map((name) => Array.from(sumsOf(name)));
    sortClasses();
    if (sumsChart) sumsChart.setData([places, ...values]);
    else {
      sumsChart = chart(byId("by-threshold"), places,
        [{ label: "lines", values: values[0], points: false }, { label: "events", values: values[1], points: false, dash: [6, 4] }],
        { x: "threshold", y: "count", xRange: () => [0, 1] });
    }
    sumsChart.mark(filter.threshold / 100);
    byId("by-threshold-text").textContent = `Lines and events of ${which} by threshold; the line and the table are at ${threshold()}.`;
  }

  /* Time lines. */
  const timelinePlace = byId("timeline-list");
  const canvases = [];

  /* The marks that count now, by label and start, those that touch as one. */
  function eventsOf(line) {
    const wanted = line.marks.filter(([label, , , place]) => place >= filter.threshold && (filter.label === ALL || label === filter.label));
    wanted.sort((one, other) => one[0] - other[0] || one[1] - other[1]);
    const events = [];
    for (const [label, start, end, place] of wanted) {
      const last = events[events.length - 1];
      if (last && last.label === label && data.named[label] && start <= last.end + SAME_SECONDS) {
        last.end = Math.max(last.end, end);
        last.place = Math.max(last.place, place);
      } else events.push({ label, start, end, place });
    }
    return events.sort((one, other) => one.start - other.start || one.label - other.label);
  }

  /* A label has one colour in all time lines, those of the most frequent labels are different ones. */
  const byFrequency = data.labels.map((_, label) => label).sort((one, other) => ofLabels.lines[other][0] - ofLabels.lines[one][0] || one - other);
  const colours = new Map(byFrequency.map((label, rank) => [label, COLOURS[rank % COLOURS.length]]));

  /* The labels that have a lane of their own, the most frequent first, and whether others share one. */
  function lanesOf(line) {
    if (filter.label !== ALL) return [{ name: data.labels[filter.label], colour: colours.get(filter.label), has: () => true }];
    const counts = new Map();
    for (const [label] of line.marks) counts.set(label, (counts.get(label) || 0) + 1);
    const labels = [...counts.keys()].sort((one, other) => counts.get(other) - counts.get(one) || one - other);
    const own = labels.length > MOST_LANES ? labels.slice(0, MOST_LANES - 1) : labels;
    const lanes = own.map((label) => ({ name: data.labels[label], colour: colours.get(label), has: (other) => other === label }));
    if (own.length < labels.length) lanes.push({ name: `${labels.length - own.length} others`, colour: "#808890", has: (other) => !own.includes(other) });
    return lanes;
  }

  /* Lanes are of one size in all time lines; to ask each for it would have the page laid out each time. */
  let lane = { width: 1, height: 1 };
  function measure() {
    const canvas = timelinePlace.querySelector("canvas");
    const scale = window.devicePixelRatio || 1;
    if (canvas) lane = { width: Math.max(1, Math.round(canvas.clientWidth * scale)), height: Math.max(1, Math.round(canvas.clientHeight * scale)) };
  }

  function draw(canvas, spans, colour, whole) {
    const { width, height } = lane;
    [canvas.width, canvas.height] = [width, height];
    const context = canvas.getContext("2d");
    context.fillStyle = colour;
    for (const { start, end, place } of spans) {
      context.globalAlpha = 0.3 + (0.7 * place) / 100;
      const left = (start / whole) * width;
      context.fillRect(left, height * 0.15, Math.max(2, (end / whole) * width - left - 1), height * 0.7);
    }
  }

  /* Where a second of a recording is heard: all of it, or one of some stretches. */
  function heardAt(line, at) {
    if (line.sound) return { sound: line, from: Math.min(at, line.soundSeconds) };
    const stretch = line.stretches.find(({ start, end }) => at >= start && at < end);
    return stretch ? { sound: stretch, from: at - stretch.start } : null;
  }

  function ticks(whole) {
    const steps = [0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 21600];
    const step = steps.find((one) => whole / one <= 6) || 43200;
    // One at the very end would be cut off.
    return Array.from({ length: Math.floor((0.95 * whole) / step) + 1 }, (_, number) => Number((number * step).toFixed(1)));
  }

  function timeline(line, number) {
    const whole = line.seconds || 1;
    const canHear = Boolean(line.sound) || line.stretches.length > 0;
    const at = element("span", { class: "at" });
    const picture = line.image ? element("img", { src: `data:image/webp;base64,${line.image}`, alt: "", decoding: "async" }) : null;
    if (picture) picture.style.width = `${(100 * line.imageSeconds) / whole}%`;
    const laneSpace = element("div");
    const laneNames = element("div");
    const heardCanvas = !line.sound && canHear ? element("canvas", { "aria-hidden": "true" }) : null;
    const stage = element("div", {
      class: "stage", role: "slider", tabindex: "0", "aria-label": `Place in ${line.path}`, "aria-orientation": "horizontal",
      "aria-valuemin": "0", "aria-valuemax": whole.toFixed(2), "aria-describedby": `timeline-${number}-said`,
    }, picture ? element("div", { class: "picture" }, picture) : null, laneSpace, heardCanvas, at);
    const said = element("p", { class: "hint", role: "status", id: `timeline-${number}-said` });
    const counts = element("span");
    const toggle = element("button", { type: "button", "aria-label": `Play ${line.path}`, disabled: !canHear }, "▶ Play");
    let place = 0;

    const showPlace = () => {
      at.style.left = `${(100 * place) / whole}%`;
      stage.setAttribute("aria-valuenow", place.toFixed(2));
      stage.setAttribute("aria-valuetext", `${seconds(place)} of ${seconds(whole)}`);
    };
    const isPlaying = () => player.isPlaying(line) || line.stretches.some((stretch) => player.isPlaying(stretch));
    const playHere = () => {
      const heard = heardAt(line, place);
      said.textContent = heard ? "" : canHear ? "This place cannot be heard in this page; the lowest lane shows which can." : "";
      if (heard) player.play(heard.sound, heard.from);
      else player.pause();
    };
    const move = (to) => {
      place = Math.max(0, Math.min(whole, to));
      showPlace();
      if (isPlaying()) playHere();
    };
    const playOrPause = () => {
      if (isPlaying()) player.pause();
      else {
        if (place >= whole - 0.01) place = 0;
        if (!heardAt(line, place) && line.stretches.length) place = (line.stretches.find(({ start }) => start >= place) || line.stretches[0]).start;
        showPlace();
        playHere();
      }
    };
    stage.addEventListener("click", (event) => {
      place = Math.max(0, Math.min(whole, ((event.clientX - stage.getBoundingClientRect().left) / stage.clientWidth) * whole));
      showPlace();
      playHere();
    });
    stage.addEventListener("keydown", (event) => {
      if (event.ctrlKey || event.metaKey || event.altKey) return;
      const step = whole / 100;
      const moves = { ArrowRight: place + step, ArrowUp: place + step, ArrowLeft: place - step, ArrowDown: place - step,
        PageUp: place + 10 * step, PageDown: place - 10 * step, Home: 0, End: whole };
      if (event.key in moves) move(moves[event.key]);
      else if (event.key === " " || event.key === "Enter") playOrPause();
      else return;
      event.preventDefault();
      event.stopPropagation();
    });
    toggle.addEventListener("click", playOrPause);
    player.listen((playing, audio) => {
      const stretch = line.stretches.find((one) => one === playing);
      if (playing === line || stretch) {
        place = Math.min(whole, audio.currentTime + (stretch ? stretch.start : 0));
        showPlace();
      }
      toggle.textContent = isPlaying() ? "❚❚ Pause" : "▶ Play";
    });

    const rows = element("tbody");
    const more = element("p", { class: "hint" });
    const list = element("details", {}, element("summary", {}, "Events as a list"),
      element("div", { class: "wide", tabindex: "0", role: "region", "aria-label": `Events of ${line.path}` },
        element("table", {}, element("caption", {}, "Events of the label and threshold that are set."),
          element("thead", {}, element("tr", {}, ...["Begins", "Ends", "Label", "Highest probability", "Sound"].map((name, column) =>
            element("th", { scope: "col", class: column === 2 ? "left" : null }, name)))), rows)), more);
    const fill = () => {
      const events = eventsOf(line);
      rows.replaceChildren(...events.slice(0, MOST_ROWS).map((event) => element("tr", {},
        element("td", {}, seconds(event.start)), element("td", {}, seconds(event.end)),
        element("td", { class: "left" }, data.labels[event.label]), element("td", {}, `from ${(event.place / 100).toFixed(2)}`),
        element("td", {}, element("button", { type: "button", disabled: !heardAt(line, event.start),
          "aria-label": `Play ${data.labels[event.label]} at ${seconds(event.start)}`,
          click: () => { place = event.start; showPlace(); playHere(); } }, "▶")))));
      more.textContent = events.length > MOST_ROWS ? `The first ${MOST_ROWS} of ${format.count(events.length)}.` : "";
    };
    list.addEventListener("toggle", () => list.open && fill());

    const known = fromEach(data.listed[number][4]);
    let drawnLabel = null;
    let lanes = [];
    const show = () => {
      if (drawnLabel !== filter.label) {
        drawnLabel = filter.label;
        lanes = lanesOf(line).map((lane) => ({ ...lane, canvas: element("canvas", { "aria-hidden": "true" }) }));
        laneSpace.replaceChildren(...lanes.map((lane) => lane.canvas));
        laneNames.replaceChildren(...lanes.map((lane) => element("div", { class: "lane", title: lane.name }, lane.name)));
      }
      const events = eventsOf(line);
      for (const lane of lanes) draw(lane.canvas, events.filter(({ label }) => lane.has(label)), lane.colour, whole);
      if (heardCanvas) draw(heardCanvas, line.stretches.map(({ start, end }) => ({ start, end, place: 100 })), COLOURS[4], whole);
      const count = filter.label === ALL ? known[filter.threshold] : line.joined ? null : events.filter(({ label }) => data.named[label]).length;
      counts.textContent = count === null ? "" : ` · ${plural(count, "event")}`;
      if (list.open) fill();
    };
    canvases.push(show);
    const gutter = element("div", { class: "gutter", "aria-hidden": "true" },
      picture ? element("div", { class: "picture" }, element("span", {}, `${+(line.rate / 2000).toFixed(1)} kHz`), element("span", {}, "0")) : null,
      laneNames,
      heardCanvas ? element("div", { class: "lane" }, "can be heard") : null);
    const axis = element("div", { class: "axis", "aria-hidden": "true" }, ...ticks(whole).map((tick) => {
      const made = element("span", {}, seconds(tick));
      made.style.left = `${(100 * tick) / whole}%`;
      return made;
    }));
    showPlace();
    const made = element("article", { class: "timeline", "aria-labelledby": `timeline-${number}` },
      element("h3", { id: `timeline-${number}`, class: "path" }, line.path),
      element("p", { class: "controls" }, toggle, element("span", { class: "hint" }, `${seconds(whole)} · ${plural(line.lines, "line")}`, counts,
        line.joined ? " · of many lines the most probable are drawn" : "", line.note ? ` · ${line.note}` : "",
        canHear || line.note ? "" : " · no room for its sound")),
      element("div", { class: "lines" }, gutter, element("div", { class: "column" }, stage, axis)), said, list);
    return made;
  }

  timelinePlace.append(...data.timelines.map(timeline));
  const showTimelines = () => canvases.forEach((show) => show());
  let width = timelinePlace.clientWidth;
  new ResizeObserver(() => {
    if (Math.abs(timelinePlace.clientWidth - width) < 2) return;
    width = timelinePlace.clientWidth;
    measure();
    showTimelines();
  }).observe(timelinePlace);

  const recordingTable = byId("recording-table");
  const sortRecordings = recordingTable ? sortable(recordingTable) : null;
  const recordingCounts = data.listed.map((recording) => fromEach(recording[4]));
  function showRecordings() {
    if (!recordingTable || !byId("recordings").open) return;
    const body = recordingTable.tBodies[0];
    if (!body.rows.length) {
      body.append(...data.listed.map(([path, lines, end, most], number) => element("tr", { "data-number": number },
        element("th", { scope: "row", class: "path" }, path), element("td"), element("td", { "data-value": lines }, format.count(lines)),
        element("td", { "data-value": end }, seconds(end)), element("td", { class: "left" }, most < 0 ? "–" : data.labels[most]))));
    }
    for (const row of body.rows) {
      const events = recordingCounts[Number(row.dataset.number)][filter.threshold];
      setCell(row.cells[1], events, format.count);
    }
    sortRecordings();
  }

  /* Activity. */
  const heat = byId("activity-table");
  const heatRows = [];
  function makeHeat() {
    const hours = Array.from({ length: 24 }, (_, hour) => element("th", { scope: "col" }, String(hour)));
    const names = [`All ${data.activity.byMonth ? "months" : "dates"}`, ...data.activity.dates];
    for (const name of names) {
      const cells = Array.from({ length: 25 }, () => element("td"));
      heatRows.push({ name, cells });
    }
    heat.append(element("caption", {}, "Events by hour of the day; the darker, the more."),
      element("thead", {}, element("tr", {}, element("th", { scope: "col" }, data.activity.byMonth ? "Month" : "Date"), ...hours, element("th", { scope: "col" }, "Sum"))),
      element("tbody", {}, ...heatRows.map(({ name, cells }) => element("tr", {}, element("th", { scope: "row" }, name), ...cells))));
  }

  function showActivity() {
    if (!heat) return;
    const { thresholds, cells, recorded, dates } = data.activity;
    const least = thresholds.filter((place) => place <= filter.threshold).length - 1;
    const counts = new Int32Array((dates.length + 1) * 24);
    const known = new Uint8Array(counts.length);
    for (let at = 0; at < recorded.length; at += 2) {
      known[(recorded[at] + 1) * 24 + recorded[at + 1]] = 1;
      known[recorded[at + 1]] = 1;
    }
    for (let at = 0; at < cells.length; at += 5) {
      const [label, place] = [cells[at], cells[at + 3]];
      if (place < least || (filter.label !== ALL && label !== ALL && label !== filter.label)) continue;
      const [date, hour, count] = [cells[at + 1], cells[at + 2], cells[at + 4]];
      counts[(date + 1) * 24 + hour] += count;
      counts[hour] += count;
    }
    const most = [Math.max(1, ...counts.subarray(0, 24)), counts.subarray(24).reduce((one, other) => Math.max(one, other), 1)];
    heatRows.forEach(({ cells: row }, number) => {
      let sum = 0;
      for (let hour = 0; hour < 24; hour += 1) {
        const count = counts[number * 24 + hour];
        sum += count;
        row[hour].textContent = known[number * 24 + hour] ? format.count(count) : "";
        row[hour].style.setProperty("--heat", Math.sqrt(count / most[number ? 1 : 0]).toFixed(3));
      }
      row[24].textContent = format.count(sum);
    });
  }

  /* The sample. */
  let shown = null;
  const bandName = (band) => `${data.bands[band]} to ${data.bands[band + 1] || 1}`;

  function describe(card) {
    const isLonger = card.eventEnd - card.eventStart > card.end - card.start + 0.001;
    return [card.label, " ", element("span", { class: "soft" }, card.probability.toFixed(3)),
      isLonger ? element("span", { class: "hint" }, ` event ${seconds(card.eventStart)} to ${seconds(card.eventEnd)}`) : null].filter(Boolean);
  }

  function showSample() {
    const label = data.labels[filter.label];
    const wanted = data.cards.filter((card) => (filter.label === ALL || card.label === label)
      && (filter.band === ALL || card.band === filter.band) && card.probability >= filter.threshold / 100);
    const events = data.bandCounts.reduce((sum, row, number) => (filter.label === ALL || filter.label === number
      ? sum + row.reduce((inner, count, band) => (filter.band === ALL || filter.band === band ? inner + count : inner), 0) : sum), 0);
    const which = [filter.label === ALL ? "" : ` of ${label}`, filter.band === ALL ? "" : ` with a probability of ${bandName(filter.band)}`].join("");
    byId("sample-count").textContent = `${format.count(wanted.length)} of ${plural(data.cards.length, "window")} shown; the table has ${plural(events, "event")}${which}.`;
    if (shown && shown.length === wanted.length && shown.every((card, number) => card === wanted[number])) return;
    shown = wanted;
    clips.fill(byId("sample-list"), wanted, describe);
  }

  function show() {
    byId("threshold-value").textContent = threshold();
    showLabels();
    showTimelines();
    showRecordings();
    showActivity();
    showSample();
  }

  review.begin(data.cards);
  if (!data.labels.length) {
    byId("sample-count").textContent = "";
    return;
  }
  byId("filter-class").append(...data.labels.map((label, number) => element("option", { value: number }, label)));
  byId("sample-band").append(...data.bands.map((_, band) => element("option", { value: band }, bandName(band))).reverse());
  hideRare();
  byId("recordings").addEventListener("toggle", showRecordings);
  if (heat) makeHeat();
  let waiting = false;
  const later = () => {
    if (waiting) return;
    waiting = true;
    requestAnimationFrame(() => {
      waiting = false;
      show();
    });
  };
  byId("filter-class").addEventListener("change", (event) => {
    filter.label = Number(event.target.value);
    later();
  });
  byId("threshold").addEventListener("input", (event) => {
    filter.threshold = Number(event.target.value);
    later();
  });
  byId("sample-band").addEventListener("change", (event) => {
    filter.band = Number(event.target.value);
    later();
  });
  show();
  measure(); // when the lanes are there
  showTimelines();
})();
