/* The page of a model: the matrix that opens clips, thresholds, charts, and the clips themselves. */
"use strict";
(() => {
  const { data, element, format, clips, review, sortable, chart } = soundmill;
  const at = (id) => document.getElementById(id);
  const { classes, cards, measured, thresholds } = data;
  // A matrix of more classes is no picture any more: of those with the most mistakes alone.
  const MOST_CLASSES = 30;
  const MOST_SHOWN = 24;
  const MOST_LYING = 12;
  const MOST_PAIRS = 20;

  const numberOf = new Map(classes.map((label, number) => [label, number]));
  for (const card of cards) {
    card.trueClass = numberOf.get(card.true);
    card.givenClass = numberOf.get(card.predicted);
    card.isRight = card.trueClass === card.givenClass;
  }

  /* ---- Clips ---- */

  const kind = at("clips-kind");
  const ofTrue = at("clips-true");
  const ofGiven = at("clips-given");
  const unmarked = at("clips-unmarked");

  function fillClasses(select, known) {
    const some = classes.map((label, number) => [label, number]).filter(([, number]) => known.has(number));
    select.append(element("option", { value: "" }, "any class"),
      ...some.map(([label, number]) => element("option", { value: number }, label)));
  }

  const counts = new Map(measured.confusion.map(([row, column, number]) => [`${row} ${column}`, number]));
  fillClasses(ofTrue, new Set(measured.confusion.map(([row]) => row)));
  fillClasses(ofGiven, new Set(measured.confusion.map(([, column]) => column)));

  function describe(card) {
    const sure = ` ${format.share(card.top[0][1])}`;
    const label = card.true === card.label ? card.true : `${card.true} (${card.label})`;
    const parts = card.isRight
      ? [element("span", { class: "verdict-right" }, `${label}: right,`), sure]
      : [`${label} → `, element("span", { class: "verdict-wrong" }, card.predicted), sure];
    if (card.other) parts.push(element("span", { class: "soft" }, ` · the other run: ${card.other[0]} ${format.share(card.other[1])}`));
    if (card.fold && card.fold !== card.partition) parts.push(element("span", { class: "soft" }, ` · ${card.fold}`));
    return parts;
  }

  function show(some, said, isAsked) {
    clips.fill(at("clips"), some, describe);
    at("clips-count").textContent = said;
    if (!isAsked) return;
    // From here on keys act on the first clip.
    at("clips-title").scrollIntoView();
    if (some.length) review.go(1);
    else at("clips-title").focus({ preventScroll: true });
  }

  /* Lists the clips of a choice; what has no card is counted. */
  function list(isAsked = false) {
    const [row, column] = [ofTrue.value, ofGiven.value].map((value) => (value === "" ? null : Number(value)));
    const fits = (one, other, isRight) =>
      (row === null || one === row) && (column === null || other === column) &&
      (kind.value === "all" || (kind.value === "right") === isRight);
    const some = cards.filter((card) => fits(card.trueClass, card.givenClass, card.isRight));
    let all = 0;
    for (const [one, other, number] of measured.confusion) if (fits(one, other, one === other)) all += number;
    const chosen = unmarked.checked ? some.filter((card) => !review.markOf(card)) : some;
    const what = kind.value === "wrong" ? "mistakes" : kind.value === "right" ? "right clips" : "clips";
    const cell = `${row === null ? "" : `, true ${classes[row]}`}${column === null ? "" : `, given ${classes[column]}`}`;
    const rest = all - some.length;
    show(chosen, `${format.count(chosen.length)} of ${format.count(all)} ${what}${cell}${rest ? `; ${format.count(rest)} more have no picture and sound in this page` : ""}.`, isAsked);
  }

  function openCell(row, column) {
    ofTrue.value = String(row);
    ofGiven.value = String(column);
    kind.value = row === column ? "right" : "wrong";
    unmarked.checked = false;
    list(true);
  }

  for (const control of [kind, ofTrue, ofGiven, unmarked]) control.addEventListener("change", () => list());

  /* ---- Confusion matrix ---- */

  function cellButton(row, column, number, share) {
    const colour = row === column ? "--accent" : "--wrong";
    const button = element("button", {
      type: "button",
      "aria-label": `true ${classes[row]}, given ${classes[column]}: ${format.count(number)} ${number === 1 ? "clip" : "clips"}`,
      title: `${classes[row]} → ${classes[column]}`,
      click: () => openCell(row, column),
    }, format.count(number));
    button.style.background = `color-mix(in srgb, var(${colour}) ${Math.round(8 + 42 * Math.sqrt(share))}%, var(--paper))`;
    return button;
  }

  function matrix(chosen) {
    const totals = chosen.map((row) => chosen.reduce((sum, column) => sum + (counts.get(`${row} ${column}`) || 0), 0));
    const head = element("tr", {}, element("th", { scope: "col", class: "left" }, "true \\ given"),
      ...chosen.map((column) => element("th", { scope: "col", title: classes[column] }, classes[column])));
    const rows = chosen.map((row, place) => element("tr", {},
      element("th", { scope: "row", title: classes[row] }, classes[row]),
      ...chosen.map((column) => {
        const number = counts.get(`${row} ${column}`);
        return element("td", {}, number ? cellButton(row, column, number, number / totals[place]) : null);
      })));
    const caption = chosen.length < classes.length
      ? `The ${chosen.length} of ${format.count(classes.length)} classes with the most mistakes, among each other`
      : "Clips by true class (rows) and given class (columns)";
    return element("div", { class: "wide", tabindex: "0", role: "region", "aria-label": "Confusion matrix" },
      element("table", { class: chosen.length > MOST_LYING || chosen.some((number) => classes[number].length > 8) ? "matrix upright" : "matrix" }, element("caption", {}, `${caption}; a cell opens its clips, the least probable labels first.`),
        element("thead", {}, head), element("tbody", {}, ...rows)));
  }

  function pairs() {
    const mistakes = measured.confusion.filter(([row, column]) => row !== column).sort((one, other) => other[2] - one[2]);
    if (!mistakes.length) return element("p", {}, "There is no mistake.");
    const rows = mistakes.slice(0, MOST_PAIRS).map(([row, column, number]) => element("tr", {},
      element("th", { scope: "row" }, classes[row]), element("td", { class: "left" }, classes[column]),
      element("td", {}, cellButton(row, column, number, 0))));
    const left = mistakes.length - rows.length;
    return element("details", { open: classes.length > MOST_CLASSES },
      element("summary", {}, "The most frequent mistakes"),
      element("div", { class: "wide", tabindex: "0", role: "region", "aria-label": "The most frequent mistakes" },
        element("table", { id: "pairs" },
          element("caption", {}, left ? `The first ${rows.length} of ${format.count(mistakes.length)} pairs of classes` : "Pairs of classes"),
          element("thead", {}, element("tr", {}, element("th", { scope: "col" }, "true"), element("th", { scope: "col", class: "left" }, "given"), element("th", { scope: "col" }, "clips"))),
          element("tbody", {}, ...rows))));
  }

  function drawMatrix() {
    const mistakes = new Array(classes.length).fill(0);
    for (const [row, column, number] of measured.confusion) {
      if (row === column) continue;
      mistakes[row] += number;
      mistakes[column] += number;
    }
    let chosen = classes.map((_, number) => number);
    if (classes.length > MOST_CLASSES) {
      chosen = chosen.filter((number) => mistakes[number]).sort((one, other) => mistakes[other] - mistakes[one]).slice(0, MOST_SHOWN).sort((one, other) => one - other);
    }
    at("confusion").append(...(chosen.length ? [matrix(chosen)] : []), pairs());
  }

  /* ---- Classes ---- */

  function filterClasses() {
    const input = at("classes-filter");
    if (!input) return;
    const tables = ["classes", "threshold-table", "data-table"].map((id) => [...at(id).tBodies[0].rows]);
    input.addEventListener("input", () => {
      const text = input.value.trim().toLowerCase();
      for (const rows of tables) for (const row of rows) row.hidden = !row.cells[0].textContent.toLowerCase().includes(text);
      const found = tables[0].filter((row) => !row.hidden).length;
      at("classes-count").textContent = text ? `${format.count(found)} of ${format.count(tables[0].length)} classes` : "";
    });
  }

  /* ---- Thresholds ---- */

  const slider = at("threshold");
  const fitted = at("threshold-fitted");
  const columns = ["threshold", "labels", "right", "alarms", "alarmShare", "precision", "recall"];
  const known = classes.map((label, number) => {
    const clipsOf = measured.classes[number].clips;
    const cells = columns.map(() => element("td"));
    at("threshold-table").tBodies[0].append(element("tr", {}, element("th", { scope: "row" }, label), ...cells));
    return { number, clipsOf, cells };
  });

  /* The counts of a class from a threshold on: those of the last change that is not above it. */
  function countsAt(number, step) {
    const changes = thresholds.counts[number];
    let [low, high] = [0, changes.length - 1];
    while (low < high) {
      const middle = Math.ceil((low + high) / 2);
      if (changes[middle][0] <= step) low = middle;
      else high = middle - 1;
    }
    return changes[low].slice(1);
  }

  const tables = Object.fromEntries(["classes", "threshold-table", "data-table"].map((id) => [id, sortable(at(id))]));

  function put(cell, value, text) {
    cell.dataset.value = value === null ? "" : String(value);
    cell.textContent = text;
  }

  function showThresholds() {
    const step = Number(slider.value);
    const areFitted = fitted && fitted.getAttribute("aria-pressed") === "true";
    let [right, alarms] = [0, 0];
    for (const { number, clipsOf, cells } of known) {
      const own = areFitted ? thresholds.fitted[number] : [step / thresholds.steps, ...countsAt(number, step)];
      const [value, mine, wrong] = own || [null, 0, 0];
      right += mine;
      alarms += wrong;
      const others = measured.clips - clipsOf;
      const precision = mine + wrong ? mine / (mine + wrong) : null;
      const recall = clipsOf ? mine / clipsOf : null;
      const share = others ? wrong / others : null;
      put(cells[0], value, value === null ? "none" : format.fixed(value));
      put(cells[1], mine + wrong, format.count(mine + wrong));
      put(cells[2], mine, format.count(mine));
      put(cells[3], wrong, format.count(wrong));
      put(cells[4], share, format.share(share, 2));
      put(cells[5], precision, format.fixed(precision));
      put(cells[6], recall, format.fixed(recall));
    }
    tables["threshold-table"]();
    const labelled = right + alarms;
    at("threshold-value").textContent = areFitted ? "each its own" : (step / thresholds.steps).toFixed(3);
    at("threshold-summary").textContent =
      `${format.count(labelled)} of ${format.count(measured.clips)} clips get a label (${format.share(labelled / measured.clips)}); ` +
      `${labelled ? `${format.share(right / labelled)} of them the right one, ` : ""}${format.count(alarms)} a wrong one.`;
  }

  let isDue = false;
  function showSoon() {
    if (isDue) return;
    isDue = true;
    requestAnimationFrame(() => {
      isDue = false;
      showThresholds();
    });
  }
  slider.addEventListener("input", () => {
    if (fitted) fitted.setAttribute("aria-pressed", "false");
    showSoon();
  });
  if (fitted) {
    fitted.addEventListener("click", () => {
      fitted.setAttribute("aria-pressed", fitted.getAttribute("aria-pressed") === "true" ? "false" : "true");
      showThresholds();
    });
  }

  /* ---- Charts ---- */

  function drawReliability() {
    const bins = measured.calibration.reliability.filter((bin) => bin.clips);
    const places = [0, ...bins.map((bin) => bin.confidence), 1];
    chart(at("reliability-chart"), places, [
      { label: "share that is right", values: [null, ...bins.map((bin) => bin.accuracy), null] },
      { label: "as it should be", values: places, dash: [6, 4], points: false, colour: "#8a929b" },
    ], { x: "probability", y: "share right", xRange: [0, 1], yRange: [0, 1] });
  }

  const CURVES = [["loss", "loss (cross-entropy)"], ["accuracy", "accuracy"], ["recall", "recall"]];

  function drawCurves(one) {
    const byPenalty = one.place === "l2";
    const order = one.columns[one.place].map((_, row) => row);
    if (byPenalty) order.sort((row, other) => one.columns.l2[row] - one.columns.l2[other]);
    const column = (name) => order.map((row) => one.columns[name][row]);
    const places = column(one.place);
    const x = byPenalty ? "L2 penalty" : "epoch";
    at("curves-charts").replaceChildren(...CURVES.filter(([name]) => one.columns[name] || one.columns[`val_${name}`]).map(([name, label]) => {
      const figure = element("figure", { class: "chart" }, element("figcaption", {}, `${label} by ${x}`));
      const series = [["training", name], ["validation", `val_${name}`]].filter(([, known]) => one.columns[known]);
      requestAnimationFrame(() => chart(figure, places, series.map(([title, known]) => ({ label: title, values: column(known) })),
        { x, y: name, distribution: byPenalty ? 3 : 1, areWhole: !byPenalty }));
      return figure;
    }));
    const last = places.length;
    const best = one.best === null ? null : { place: one.columns[one.place][one.best], accuracy: one.columns.val_accuracy?.[one.best] };
    at("curves-summary").textContent = `${format.count(last)} ${byPenalty ? (last === 1 ? "penalty" : "penalties") : last === 1 ? "epoch" : "epochs"}` +
      (best === null ? "." : `; the network is that of ${byPenalty ? "the penalty" : "epoch"} ${byPenalty ? best.place.toPrecision(3) : best.place}` +
        (best.accuracy === undefined || best.accuracy === null ? "." : `, with an accuracy of ${format.share(best.accuracy)} in validation.`));
    const names = Object.keys(one.columns);
    at("curves-table").replaceChildren(
      element("caption", {}, `${one.name ? `${one.name}: ` : ""}a row ${byPenalty ? "a penalty" : "an epoch"}`),
      element("thead", {}, element("tr", {}, ...names.map((name) => element("th", { scope: "col" }, name.replace("val_", "validation "))))),
      element("tbody", {}, ...one.columns[one.place].map((_, row) => element("tr", {}, ...names.map((name) => {
        const value = one.columns[name][row];
        return element("td", {}, value === null ? "–" : Number.isInteger(value) ? String(value) : value.toPrecision(5));
      })))));
  }

  /* ---- Comparison ---- */

  function compare() {
    const { comparison } = data;
    if (!comparison) return;
    for (const name of ["won", "lost"]) {
      for (const [place, label, probability] of comparison[name].shown) cards[place].other = [label, probability];
      at(`compare-${name}`).addEventListener("click", () => {
        const some = comparison[name].shown.map(([place]) => cards[place]);
        const rest = comparison[name].clips - some.length;
        show(some, `${format.count(some.length)} of ${format.count(comparison[name].clips)} clips that ${comparison.runs[name === "won" ? 1 : 0]} alone gets right${rest ? `; ${format.count(rest)} more have no picture and sound in this page` : ""}.`, true);
      });
    }
  }

  /* ---- Begin ---- */

  review.begin(cards.filter((card) => !card.unmarked));
  compare();
  drawMatrix();
  filterClasses();
  showThresholds();
  drawReliability();
  if (data.curves.length) {
    drawCurves(data.curves[0]);
    at("curves-run")?.addEventListener("change", (event) => drawCurves(data.curves[Number(event.target.value)]));
  }
  if (!cards.some((card) => !card.isRight)) kind.value = "right";
  list();
})();
