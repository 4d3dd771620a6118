/* Ballotpress on any page: <div data-ballotpress="tool-slug"></div> and this script, nothing else.
   The page's policy needs this site in script-src and connect-src; no inline script or style is used. The visitor's token is kept in
   the storage of the page's own site, because browsers refuse cookies of others. */
(() => {
  "use strict";
  const script = document.currentScript;
  const base = new URL(script ? script.src : location.href).origin;
  const STORED = `ballotpress ${base}`;
  const WORDS = { ship: "Ship", skip: "Skip", mixed: "Mixed" };
  const NO_STORE = "Your browser keeps nothing for this site, so a vote can't count: one reader couldn't be told from another.";
  const LOOKS = `
:host([data-theme=light]) { color-scheme: light !important; } :host([data-theme=dark]) { color-scheme: dark !important; }
:host { display: block; font: 1rem/1.5 system-ui, sans-serif; color-scheme: light dark; --ship: light-dark(#0b5c6b, #6fd0dc);
  --skip: light-dark(#a8400f, #f5a078); --ink: light-dark(#1f1c18, #eceae5); --soft: light-dark(#5d574d, #b0aca3);
  --card: light-dark(#fff, #1b1d20); --line: light-dark(#ddd7cb, #34383d); --on: light-dark(#fff, #10130f); }
section { border: 1px solid var(--line); border-radius: 10px; padding: 1rem; background: var(--card); color: var(--ink); max-width: 24rem; }
p { margin: 0; font-variant-numeric: tabular-nums; min-height: 1.5em; } .soft { color: var(--soft); font-size: .875rem; }
a { color: inherit; font-weight: 700; } strong { font-size: 1.75rem; } .few { font-size: 1.25rem; font-weight: 400; color: var(--soft); }
div { display: flex; gap: .5rem; margin: .5rem 0; }
button { font: 600 .9375rem system-ui, sans-serif; min-height: 2.75rem; padding: 0 1rem; border: 1px solid; border-radius: 8px;
  background: none; cursor: pointer; } button[hidden] { display: inline-block; visibility: hidden; }
.ship { color: var(--ship); } .skip { color: var(--skip); } .none { color: var(--soft); border-color: transparent; text-decoration: underline; }
.ship[aria-pressed=true] { background: var(--ship); color: var(--on); } .skip[aria-pressed=true] { background: var(--skip); color: var(--on); }
:focus-visible { outline: 3px solid; outline-offset: 2px; }`;

  let told = false; // why nothing can be asked, once a page

  const token = () => {
    try {
      return localStorage.getItem(STORED);
    } catch {
      return null;
    }
  };
  async function newToken() {
    try {
      localStorage.setItem(`${STORED}?`, "1");
      localStorage.removeItem(`${STORED}?`);
    } catch {
      throw new Error(NO_STORE);
    }
    const made = await ask("POST", "/v1/visitors");
    localStorage.setItem(STORED, made.token);
  }
  async function ask(method, path, body, more) {
    const headers = { ...more };
    if (token()) headers.Authorization = `Bearer ${token()}`;
    if (body) headers["Content-Type"] = "application/json";
    const answer = await fetch(base + path, { method, headers, body: body && JSON.stringify(body), credentials: "omit" }).catch(() => {
      if (navigator.onLine && !told) console.error(`Ballotpress: ${base} could not be asked. Its BALLOTPRESS_CORS_ORIGINS must name ${location.origin}, and a Content-Security-Policy here must allow ${base} in connect-src.`);
      told = true;
      throw new Error("No connection. Try again.");
    });
    const said = await answer.json().catch(() => ({}));
    if (answer.ok) return said;
    throw Object.assign(new Error(said.detail || "That didn't work. Try again."), { status: answer.status, puzzle: said.puzzle });
  }

  const make = (name, parent, props) => parent.appendChild(Object.assign(document.createElement(name), props));
  const count = (n, word) => `${n.toLocaleString("en-US")} ${word}${n === 1 ? "" : "s"}`;

  const day = (date) => new Date(`${date}T00:00Z`).toLocaleDateString("en-GB", { day: "numeric", month: "long", timeZone: "UTC" });
  const days = ({ from, to }) => {
    if (from === to) return day(to);
    return from.slice(0, 7) === to.slice(0, 7) ? `${Number(from.slice(8))}–${day(to)}` : `${day(from)} to ${day(to)}`;
  };

  class Widget {
    constructor(place) {
      this.slug = place.dataset.ballotpress;
      this.position = -1;
      this.busy = false;
      const root = place.shadowRoot || place.attachShadow({ mode: "open" });
      root.replaceChildren();
      const looks = new CSSStyleSheet();
      looks.replaceSync(LOOKS);
      root.adoptedStyleSheets = [looks];
      const box = make("section", root, { ariaLabel: "Community vote" });
      this.name = make("a", make("p", box), { href: `${base}/tools/${this.slug}`, textContent: this.slug });
      this.percent = make("strong", make("p", box), { textContent: "" });
      this.line = make("p", box, { textContent: "…" });
      const sure = make("p", box, { className: "soft" });
      this.called = make("a", sure, { href: `${base}/settled`, title: "What “so far” and “settled” mean", hidden: true });
      this.sure = make("span", sure, {});
      this.reviewed = make("p", box, { hidden: true });
      const row = make("div", box);
      this.buttons = ["ship", "skip", "none"].map((choice) => {
        const button = make("button", row, { type: "button", className: choice, textContent: WORDS[choice] || "Take back" });
        button.hidden = choice === "none";
        button.addEventListener("click", () => this.vote(choice));
        return button;
      });
      this.said = make("p", box, { className: "soft", role: "status" });
      const note = "Votes are published, under a name that nobody can link to you or to your other votes. ";
      make("a", make("p", box, { className: "soft", textContent: note }), { href: `${base}/proof`, textContent: "Proof" });
      this.press(null);
    }
    async load() {
      try {
        const card = await ask("GET", `/v1/tools/${this.slug}`);
        this.slug = card.slug; // a tool that took another slug answers by the one that it had, too
        Object.assign(this.name, { href: `${base}/tools/${this.slug}`, textContent: card.name });
        this.show(card.community, card.position);
        this.review(card.under_review);
        if (token()) this.press((await ask("GET", `/v1/tools/${this.slug}/vote`)).choice);
      } catch (error) {
        this.said.textContent = error.status === 404 ? `There is no tool “${this.slug}” here.` : error.message;
        this.missing = error.status === 404;
        if (this.missing) console.error(`Ballotpress: ${base} has no tool ${this.slug}`);
      }
    }
    show(c, position) {
      if (position < this.position) return;
      this.position = position;
      this.percent.textContent = c.total ? `${c.ship_percent}% ship` : "No votes yet";
      this.percent.className = c.verdict ? "" : "few";
      this.line.textContent = `${count(c.total, "vote")} · ${c.ship} ship / ${c.skip} skip`;
      this.called.hidden = !c.total;
      const word = WORDS[c.settled || c.verdict];
      const flips = word ? ` · ${count(c.flips_to_change, "voter")} changing sides would flip it` : "";
      this.called.textContent = word ? `${word}, ${c.settled ? "settled" : "so far"}` : "Too early to call";
      this.sure.textContent = (c.interval ? ` · 95% ${c.interval[0].toFixed(1)}–${c.interval[1].toFixed(1)}%` : "") + flips;
    }
    review(spans) {
      this.reviewed.hidden = !spans;
      this.reviewed.textContent = spans ? `Votes of ${spans.map(days).join(" and ")} are under review.` : "";
    }
    press(choice) {
      for (const button of this.buttons) {
        if (button.className === "none") button.hidden = !choice;
        else button.setAttribute("aria-pressed", String(button.className === choice));
      }
    }
    async vote(choice) {
      if (this.busy) return;
      this.busy = true;
      const path = `/v1/tools/${this.slug}/vote`;
      const cast = (more) => ask("PUT", path, { choice }, more);
      const work = async (error) => {
        if (!error.puzzle) throw error;
        this.said.textContent = "One moment…";
        const { solve } = await import(`${base}/puzzle.js`);
        return cast({ "Ballotpress-Puzzle": await solve(error.puzzle) });
      };
      const send = () => (choice === "none" ? ask("DELETE", path) : cast().catch(work));
      try {
        if (!token()) await newToken();
        const answer = await send().catch(async (error) => {
          if (error.status !== 401) throw error;
          localStorage.removeItem(STORED); // no token of this site's any more
          await newToken();
          return send();
        });
        this.press(answer.choice);
        this.show(answer.community, Math.max(answer.position || 0, this.position));
        this.said.textContent = answer.choice ? `Your vote is counted: ${answer.choice}.` : "Your vote is taken back.";
      } catch (error) {
        this.said.textContent = error.message;
      }
      this.busy = false;
    }
  }

  function begin() {
    const widgets = [...document.querySelectorAll("[data-ballotpress]")].map((place) => new Widget(place));
    if (!widgets.length) return;
    let source, timer;
    const stop = () => {
      clearTimeout(timer);
      if (source) source.close();
    };
    const follow = () => {
      stop();
      if (document.hidden) return;
      // One name that isn't known would refuse the stream to all.
      const tools = [...new Set(widgets.filter((one) => !one.missing).map((one) => `tool=${encodeURIComponent(one.slug)}`))];
      if (!tools.length) return;
      source = new EventSource(`${base}/v1/tallies/live?${tools.join("&")}`);
      source.addEventListener("tally", (event) => {
        const told = JSON.parse(event.data);
        for (const one of widgets) {
          if (one.slug !== told.tool) continue;
          one.show(told, Number(event.lastEventId));
          one.review(told.under_review);
        }
      });
      source.onerror = () => {
        if (source.readyState !== EventSource.CLOSED) return;
        timer = setTimeout(() => Promise.all(widgets.map((one) => one.load())).then(follow), 10000);
      };
    };
    Promise.all(widgets.map((one) => one.load())).then(follow);
    document.addEventListener("visibilitychange", follow);
    addEventListener("pagehide", stop);
    addEventListener("pageshow", (event) => event.persisted && follow());
  }
  if (document.readyState === "loading") document.addEventListener("DOMContentLoaded", begin);
  else begin();
})();
