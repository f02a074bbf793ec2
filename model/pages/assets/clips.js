/* Lists of clips: each is seen, heard, and marked as right or wrong. */
"use strict";
soundmill.clips = (() => {
  const { element, player, format, drawEnvelope } = soundmill;
  const BATCH = 60;
  const QUIET = 0.1;

  function topClasses(card) {
    const rows = card.top.map(([name, probability]) => {
      const bar = element("i");
      bar.style.width = `${100 * probability}%`;
      return element("li", {},
        element("span", { class: "name", title: name }, name),
        element("span", { class: "bar", "aria-hidden": "true" }, bar),
        element("span", { class: "number" }, format.fixed(probability, 3)));
    });
    return element("ul", { class: "top-classes", "aria-label": "Most probable classes" }, ...rows);
  }

  /* How loud the loudest sample is, of full scale; said of sounds that may not be noticed. */
  function loudness(card) {
    if (!card.sound || card.peak > QUIET) return "";
    return card.peak ? ` · quiet, ${(20 * Math.log10(card.peak)).toFixed(0)} dB at most` : " · digital silence";
  }

  /* The picture of a sound, which is a button that plays it: from where it is clicked, or all of it by the keyboard. */
  function soundButton(card, name) {
    const button = element("button", { type: "button", class: "sound", "aria-label": `Play ${name}` });
    if (card.image) button.append(element("img", { src: `data:image/webp;base64,${card.image}`, alt: "", loading: "lazy", decoding: "async" }));
    if (!card.sound) {
      button.disabled = true;
      button.setAttribute("aria-label", `${name} cannot be played`);
      button.append(element("span", { class: "silent" }, card.silent || "The recording is not there any more, or has changed."));
      return button;
    }
    const canvas = element("canvas", { "aria-hidden": "true" });
    const at = element("span", { class: "at", hidden: true });
    const sign = element("span", { class: "sign", "aria-hidden": "true" }, "▶");
    button.append(canvas, at, sign);
    drawEnvelope(canvas, card.envelope);
    button.addEventListener("click", (event) => {
      if (event.detail === 0 || player.isPlaying(card)) player.toggle(card);
      else player.play(card, (card.seconds * event.offsetX) / button.clientWidth);
    });
    soundmill.clips.following.set(card, { button, at, sign });
    return button;
  }

  player.listen((playing, audio) => {
    for (const [card, { at, sign }] of soundmill.clips.following) {
      const here = playing === card;
      at.hidden = !here;
      sign.textContent = here && !audio.paused ? "❚❚" : "▶";
      if (here) at.style.left = `${(100 * audio.currentTime) / card.seconds}%`;
    }
  });

  /* Makes the element of one card; `describe(card)` returns nodes that say what is judged. */
  function clip(card, describe) {
    const review = soundmill.review;
    const name = `${card.path}, ${format.clock(card.start)} to ${format.clock(card.end)}`;
    const made = element("li", { class: "clip", tabindex: "-1" },
      soundButton(card, name),
      element("div", {},
        element("h3", {}, ...describe(card)),
        element("p", { class: "path" }, card.path),
        element("p", { class: "hint" }, `${format.clock(card.start)} to ${format.clock(card.end)}`,
          card.group ? ` · ${card.group}` : "", card.partition ? ` · ${card.partition}` : "", loudness(card)),
        topClasses(card),
        review.buttons(card)));
    made.addEventListener("focusin", () => review.enter(card));
    made.addEventListener("pointerdown", () => review.enter(card));
    return made;
  }

  /* Fills a list with cards, some at a time. Returns the list, which the keyboard goes through by review.show(list). */
  function fill(place, cards, describe) {
    soundmill.clips.following.clear();
    const list = element("ol", { class: "clips" });
    const elements = new Map();
    const more = element("button", { type: "button", class: "more" });
    let shown = 0;
    const extend = (until = shown + BATCH) => {
      for (; shown < Math.min(until, cards.length); shown += 1) {
        const made = clip(cards[shown], describe);
        elements.set(cards[shown], made);
        list.append(made);
      }
      more.hidden = shown >= cards.length;
      more.textContent = `Show ${format.count(Math.min(BATCH, cards.length - shown))} more of ${format.count(cards.length - shown)}`;
    };
    more.addEventListener("click", () => {
      const next = cards[shown];
      extend();
      elements.get(next).focus();
    });
    extend();
    place.replaceChildren(list, more);
    soundmill.review.show({
      cards,
      element(card) {
        if (!elements.has(card)) extend(cards.indexOf(card) + BATCH);
        return elements.get(card);
      },
    });
    return list;
  }

  return { fill, soundButton, topClasses, following: new Map() };
})();
