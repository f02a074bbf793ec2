/* Marks of right and wrong, by buttons or by the keyboard alone; kept by the browser, and downloaded as review.csv. */
"use strict";
soundmill.review = (() => {
  const { data, element, format, player, notice } = soundmill;
  const COLUMNS = ["path", "start_seconds", "end_seconds", "label", "verdict", "correct_label"];
  const KEYS = [
    ["Space", "play or pause"], ["j →", "next clip"], ["k ←", "clip before"], ["y", "the label is right"], ["n", "the label is wrong"],
    ...(data.predictionMayBeRight ? [["p", "wrong, what the network says is right"]] : []),
    ["l", "choose the right label"], ["u", "take the mark back"], ["g", "louder: quiet sounds as loud as others"], ["d", "download review.csv"], ["?", "these keys"],
  ];
  const store = `soundmill-review-${document.documentElement.dataset.digest}`;
  const cards = new Map(); // by key, in the order of the page
  const marks = new Map(); // by key: {verdict, correct}
  const bars = new Map(); // by key: what shows the mark of a card that is in the page
  const counted = document.getElementById("review-count");
  let list = null;
  let current = null;

  const key = (card) => JSON.stringify([card.path, card.start, card.end, card.label]);

  /* Whether what the network says would be another label; a label may count as _unknown_, as which it is given then. */
  const mayBePredicted = (card) => data.predictionMayBeRight && card.predicted !== card.label && card.predicted !== card.true;

  function load() {
    let kept = null;
    try {
      kept = localStorage.getItem(store);
      localStorage.setItem(store, kept || "[]");
    } catch (error) {
      notice("This browser keeps nothing of this page: download the review before you close it.");
      return;
    }
    try {
      for (const [name, mark] of JSON.parse(kept || "[]")) if (cards.has(name)) marks.set(name, mark);
    } catch (error) {
      notice("What was marked here before cannot be read.");
    }
  }

  function save() {
    try {
      localStorage.setItem(store, JSON.stringify([...marks]));
    } catch (error) {
      notice("This browser has no room for the marks: download the review before you close it.");
    }
  }

  function sayCount() {
    const wrong = [...marks.values()].filter((mark) => mark.verdict === "wrong").length;
    counted.textContent = marks.size
      ? `${format.count(marks.size)} of ${format.count(cards.size)} clips marked: ${format.count(marks.size - wrong)} right, ${format.count(wrong)} wrong`
      : `No clip of ${format.count(cards.size)} is marked yet`;
    document.getElementById("review-download").disabled = !marks.size;
    document.dispatchEvent(new CustomEvent("soundmill-marked"));
  }

  function mark(card, verdict, correct = "") {
    if (!cards.has(key(card))) return;
    if (verdict === null) marks.delete(key(card));
    else if (verdict === "wrong" && correct === card.label) marks.set(key(card), { verdict: "right", correct: "" });
    else marks.set(key(card), { verdict, correct });
    save();
    showMark(card);
    sayCount();
  }

  function showMark(card) {
    const bar = bars.get(key(card));
    if (!bar) return;
    const made = marks.get(key(card));
    for (const button of bar.querySelectorAll("button[data-verdict]")) {
      const pressed = made && made.verdict === button.dataset.verdict && (made.correct || "") === button.dataset.correct;
      button.setAttribute("aria-pressed", pressed ? "true" : "false");
    }
    const said = bar.querySelector(".said");
    said.className = `said ${made ? `verdict-${made.verdict}` : "soft"}`;
    said.textContent = !made ? "not marked" : made.verdict === "right" ? "right" : made.correct ? `wrong, it is ${made.correct}` : "wrong";
  }

  /* The buttons of a card, with what they say now. */
  function buttons(card) {
    if (!cards.has(key(card))) return element("p", { class: "marks soft" }, "It is no clip that review.csv could name.");
    const one = (text, letter, verdict, correct, act) =>
      element("button", { type: "button", "aria-pressed": verdict ? "false" : null, "data-verdict": verdict, "data-correct": correct, click: act },
        text, " ", element("kbd", {}, letter));
    const bar = element("p", { class: "marks" },
      one(`It is ${card.label}`, "y", "right", "", () => mark(card, "right")),
      one(`Not ${card.label}`, "n", "wrong", "", () => mark(card, "wrong")),
      mayBePredicted(card)
        ? one(`It is ${card.predicted}`, "p", "wrong", card.predicted, () => mark(card, "wrong", card.predicted)) : null,
      one("Other…", "l", null, null, () => choose(card)),
      element("span", { class: "said soft", role: "status" }));
    bars.set(key(card), bar);
    showMark(card);
    return bar;
  }

  /* The card that keys act on. */
  function enter(card) {
    if (current === card) return;
    if (current && list) list.element(current)?.classList.remove("current");
    current = card;
    if (list) list.element(card)?.classList.add("current");
  }

  function go(step) {
    if (!list || !list.cards.length) return;
    const place = current ? list.cards.indexOf(current) : -1;
    const next = list.cards[Math.min(list.cards.length - 1, Math.max(0, place + step))];
    player.pause();
    list.element(next).focus({ preventScroll: true });
    enter(next);
    list.element(next).scrollIntoView({ block: "nearest" });
  }

  /* Takes the list that keys go through; the clip that they act on stays, where the list has it. */
  function show(made) {
    list = made;
    if (list.cards.includes(current)) list.element(current).classList.add("current");
    else current = null;
  }

  const dialog = document.getElementById("choose");
  const input = document.getElementById("choose-text");
  const options = document.getElementById("choose-list");
  let choosing = null;
  let marked = 0;

  function offered() {
    const text = input.value.trim().toLowerCase();
    const found = data.labels.filter((label) => label.toLowerCase().includes(text));
    found.sort((one, other) => other.toLowerCase().startsWith(text) - one.toLowerCase().startsWith(text));
    const exact = data.labels.includes(input.value.trim());
    return text && !exact ? [...found.slice(0, 200), input.value.trim()] : found.slice(0, 200);
  }

  function showOptions() {
    const labels = offered();
    marked = Math.max(0, Math.min(marked, labels.length - 1));
    options.replaceChildren(...labels.map((label, number) =>
      element("li", {
        role: "option", id: `choose-${number}`, "aria-selected": number === marked ? "true" : "false",
        click: () => take(label),
      }, data.labels.includes(label) ? label : `${label} (new)`)));
    input.setAttribute("aria-activedescendant", labels.length ? `choose-${marked}` : "");
    options.children[marked]?.scrollIntoView({ block: "nearest" });
  }

  function choose(card) {
    enter(card);
    choosing = card;
    input.value = "";
    marked = 0;
    document.getElementById("choose-clip").textContent = card.path;
    dialog.showModal();
    showOptions();
    input.focus();
  }

  function take(label) {
    mark(choosing, "wrong", label);
    leave();
  }

  /* Closes the list of labels. The event "close" comes later, when next keys may have opened it for another clip. */
  function leave() {
    const card = choosing;
    choosing = null;
    dialog.close();
    if (list && card) list.element(card)?.focus();
  }

  document.getElementById("choose-cancel").addEventListener("click", leave);
  input.addEventListener("input", () => {
    marked = 0;
    showOptions();
  });
  dialog.addEventListener("keydown", (event) => {
    const labels = offered();
    if (event.key === "ArrowDown" || event.key === "ArrowUp") {
      marked = (marked + (event.key === "ArrowDown" ? 1 : labels.length - 1)) % Math.max(1, labels.length);
      showOptions();
    } else if (event.key === "Enter" && event.target === input && labels.length) take(labels[marked]);
    else if (event.key === "Escape") leave();
    else return;
    event.preventDefault();
  });
  dialog.addEventListener("close", () => choosing && !dialog.open && leave()); // as by a phone's key for back

  function field(text) {
    return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
  }

  /* As score writes labels: a spreadsheet shall take none for a formula. */
  function labelField(label) {
    return field(/^[=+\-@']/.test(label) ? `'${label}` : label);
  }

  function csv() {
    const lines = [COLUMNS.join(",")];
    for (const [name, card] of cards) {
      const made = marks.get(name);
      if (made) lines.push([field(card.path), card.start.toFixed(6), card.end.toFixed(6), labelField(card.label), made.verdict, labelField(made.correct)].join(","));
    }
    return `${lines.join("\n")}\n`;
  }

  function download() {
    if (!marks.size) return;
    const url = URL.createObjectURL(new Blob([csv()], { type: "text/csv" }));
    const link = element("a", { href: url, download: "review.csv" });
    link.click();
    setTimeout(() => URL.revokeObjectURL(url), 10_000);
  }

  const keysList = document.getElementById("keys");
  const help = document.getElementById("review-help");
  keysList.append(...KEYS.map(([name, does]) => element("div", {}, element("dt", {}, ...name.split(" ").map((part) => element("kbd", {}, part))), element("dd", {}, does))));
  function toggleHelp() {
    keysList.hidden = !keysList.hidden;
    help.setAttribute("aria-expanded", keysList.hidden ? "false" : "true");
  }
  help.addEventListener("click", toggleHelp);
  const louder = document.getElementById("louder");
  function toggleLouder() {
    louder.setAttribute("aria-pressed", player.makeLouder(louder.getAttribute("aria-pressed") !== "true") ? "true" : "false");
  }
  louder.addEventListener("click", toggleLouder);
  document.getElementById("review-download").addEventListener("click", download);

  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || dialog.open) return;
    const target = event.target;
    if (target.matches("input:not([type=range]), select, textarea")) return;
    if (target.matches("input[type=range]") && event.key.startsWith("Arrow")) return;
    const actions = {
      j: () => go(1), ArrowRight: () => go(1), k: () => go(-1), ArrowLeft: () => go(-1), d: download, g: toggleLouder, "?": toggleHelp,
    };
    if (current) {
      Object.assign(actions, {
        y: () => mark(current, "right"), n: () => mark(current, "wrong"), u: () => mark(current, null), l: () => cards.has(key(current)) && choose(current),
      });
      if (data.predictionMayBeRight) actions.p = () => mayBePredicted(current) && mark(current, "wrong", current.predicted);
      // A button that has the focus is pressed by this key, unless it is the list's own.
      if (!target.matches("button, a, summary") || target.matches(".sound")) actions[" "] = () => current.sound && player.toggle(current);
    }
    const act = actions[event.key];
    if (!act) return;
    event.preventDefault();
    act();
  });

  /* Begins with the cards of a page, in the order in which review.csv has them. */
  function begin(all) {
    for (const card of all) cards.set(key(card), card);
    load();
    document.getElementById("review").hidden = !all.length;
    sayCount();
  }

  return { begin, show, go, buttons, enter, mark, markOf: (card) => marks.get(key(card)) || null, csv };
})();
