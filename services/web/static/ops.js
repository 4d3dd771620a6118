// Operators' pages: charts that follow, and a moderation queue that is worked by keys. Everything works without it.
"use strict";
(() => {
  const all = (selector) => [...document.querySelectorAll(selector)];

  // The pulse: asked for every two seconds while somebody looks, drawn over two minutes.
  const EVERY = 2000;
  const KEPT = 60;
  const lags = {};
  const sparks = Object.fromEntries(all("[data-spark]").map((path) => [path.dataset.spark, path]));
  function draw(path, values) {
    const top = Math.max(1, ...values);
    all(`[data-top="${path.dataset.spark}"]`).forEach((place) => (place.textContent = top.toLocaleString("en-US")));
    const step = 240 / (KEPT - 1);
    const first = KEPT - values.length;
    path.setAttribute("d", "M" + values.map((value, n) => `${((first + n) * step).toFixed(1)} ${(46 - (44 * value) / top).toFixed(1)}`).join(" L"));
  }
  async function beat() {
    if (!document.hidden) {
      try {
        const answer = await fetch("/ops/pulse", { redirect: "error" });
        const pulse = await answer.json();
        all("[data-pulse=head]").forEach((place) => (place.textContent = pulse.head.toLocaleString("en-US")));
        for (const { name, lag } of pulse.views) {
          (lags[name] ||= []).push(lag);
          if (lags[name].length > KEPT) lags[name].shift();
          all(`[data-lag="${name}"]`).forEach((place) => (place.textContent = lag));
          if (sparks[name] && lags[name].length > 1) draw(sparks[name], lags[name]);
        }
      } catch {
        // signed out, or the server is away: the next beat tells
      }
    }
    setTimeout(beat, EVERY);
  }
  if (Object.keys(sparks).length) beat();

  // The queues: j and k move, e goes to the reason, o opens, n goes to the next page; the other keys decide.
  const PLACE = "ballotpress moderation";
  const reviews = all("[data-review]");
  all("[data-keys]").forEach((hint) => (hint.hidden = !reviews.length));
  const current = () => reviews.findIndex((review) => review.contains(document.activeElement));
  const go = (n) => reviews[Math.max(0, Math.min(reviews.length - 1, n))].focus();
  const decide = (how) => {
    const review = reviews[current()];
    if (!review) return go(0);
    const button = review.querySelector(`button[value=${how}], button[data-as=${how}]`);
    if (!button || review.dataset.decided || !button.form.reportValidity()) return;
    review.dataset.decided = how;
    sessionStorage.setItem(PLACE, String(current()));
    button.click();
  };
  // A decision loads the page anew: the review that has moved up is looked at next.
  const place = sessionStorage.getItem(PLACE);
  sessionStorage.removeItem(PLACE);
  if (place !== null && reviews.length) go(Number(place));
  const inside = (selector) => (reviews[current()] || reviews[0]).querySelector(selector);
  const KEYS = {
    j: () => go(current() + 1),
    k: () => go(Math.max(0, current() - 1)),
    e: () => inside("input[name=reason]")?.focus(),
    o: () => inside("[data-open]")?.click(),
    n: () => inside("[data-next]")?.click(),
  };
  const DECISIONS = { a: "approve", r: "reject", v: "void", d: "dismiss", w: "watch", u: "undo" };
  for (const [key, how] of Object.entries(DECISIONS)) KEYS[key] = () => decide(how);
  document.addEventListener("keydown", (event) => {
    const typing = event.target.closest("input, textarea, select");
    if (event.key === "Escape" && typing) typing.closest("[data-review]")?.focus();
    if (!reviews.length || typing || event.ctrlKey || event.metaKey || event.altKey || !(event.key in KEYS)) return;
    event.preventDefault();
    KEYS[event.key]();
  });
})();
