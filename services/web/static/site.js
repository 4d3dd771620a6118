// Makes the pages better: counters that count, votes and bookmarks without leaving the page. Everything works without it.
"use strict";
(() => {
  const all = (selector, root = document) => [...root.querySelectorAll(selector)];

  // The words of services/web/filters.py and projections/comparison.py.
  const number = (n) => n.toLocaleString("en-US");
  const count = (n, word) => `${number(n)} ${word}${n === 1 ? "" : "s"}`;
  const VERDICTS = { ship: "Ship", skip: "Skip", mixed: "Mixed" };
  const BADGES = { ship: " ship", skip: " is-skip", mixed: " mixed" };
  const word = (c) => c.settled || c.verdict;
  const called = (c) =>
    word(c) ? `${VERDICTS[word(c)]}, ${c.settled ? "settled" : "so far"}` : c.total ? "Too early to call" : "";
  const FEW = 10;
  const isFew = (c) => c.total > 0 && c.total < FEW;
  const share = (c) => (isFew(c) ? `${c.ship} of ${c.total}` : `${c.ship_percent}%`);
  const standing = (c) => (isFew(c) ? `${c.ship} of ${count(c.total, "vote")} ship` : `${c.ship_percent}% ship of ${count(c.total, "vote")}`);
  const words = (c) => ({
    percent: c.total ? share(c) : "No votes yet",
    standing: c.total ? standing(c) : "No votes yet",
    verdict: called(c),
    count: count(c.total, "vote"),
    split: `${c.ship} ship / ${c.skip} skip`,
    interval: c.interval
      ? `95% interval ${c.interval[0].toFixed(1)}–${c.interval[1].toFixed(1)}% ship`
      : "",
    flips: c.flips_to_change === null || !word(c) ? "" : `${count(c.flips_to_change, "voter")} changing sides would flip it`,
  });
  const line = (c) => (c.total ? `${c.ship_percent}% ship · ${c.ship} ship / ${c.skip} skip` : "No community votes yet");

  // A tally is shown unless a later one is there already.
  const shown = {};
  const set = (part, x, width) => {
    part.setAttribute("x", x);
    part.setAttribute("width", width);
  };
  const DOTS = { ships: (c) => [0, c.ship], skips: (c) => [c.ship, c.skip], holes: (c) => [c.ship, c.skip] };
  function dot(part, c) {
    const [first, dots] = DOTS[part.dataset.part](c);
    const hidden = !isFew(c) || !dots;
    part.setAttribute("x1", hidden ? -40 : 8 + 20 * first);
    part.setAttribute("x2", hidden ? -40 : (20 * (first + dots) - 11.9).toFixed(1));
  }
  function show(slug, c, position) {
    if (position < (shown[slug] ?? 0)) return;
    shown[slug] = position;
    const says = { ...words(c), entry: number(position) };
    for (const tally of all(`[data-tally="${slug}"]`)) {
      tally.dataset.size = isFew(c) ? "few" : "many";
      tally.dataset.votes = c.verdict ? "enough" : c.total ? "few" : "none";
      for (const part of all("[data-part]", tally)) {
        const name = part.dataset.part;
        if (name === "rest") set(part, 0, c.total ? 100 : 0);
        else if (name === "share") set(part, 0, c.total ? ((100 * c.ship) / c.total).toFixed(2) : 0);
        else if (name === "band") set(part, c.interval ? c.interval[0] : 0, c.interval ? (c.interval[1] - c.interval[0]).toFixed(1) : 0);
        else if (DOTS[name]) dot(part, c);
        else if (part.textContent !== says[name]) part.textContent = says[name];
        if (name === "verdict") part.className = `badge${BADGES[word(c)] || ""}`;
      }
    }
    for (const cell of all(`[data-line="${slug}"]`)) cell.textContent = line(c);
  }

  // The days whose votes are under review, as services/web/filters.py writes them.
  const day = (date) => new Date(`${date}T00:00Z`).toLocaleDateString("en-GB", { day: "numeric", month: "long", timeZone: "UTC" });
  const days = ({ from, to }) => {
    if (from === to) return day(to);
    return from.slice(0, 7) === to.slice(0, 7) ? `${Number(from.slice(8))}–${day(to)}` : `${day(from)} to ${day(to)}`;
  };
  function review(slug, spans) {
    for (const place of all(`[data-under-review="${slug}"]`)) {
      place.hidden = !spans;
      place.textContent = spans ? `Votes of ${spans.map(days).join(" and ")} are under review.` : "";
    }
  }

  // Counting: a stream while the page is looked at, else now and then, and nothing in a hidden tab.
  const slugs = [...new Set(all("[data-tally]").map((tally) => tally.dataset.tally))];
  for (const tally of all("[data-tally]")) shown[tally.dataset.tally] = Number(tally.dataset.position);
  const POLL = 5000;
  const RETRY = 20000;
  let source = null;
  let timer = 0;
  let retryAt = 0;
  const say = (text) => all("[data-live]").forEach((place) => (place.textContent = text));
  function stop() {
    clearTimeout(timer);
    if (source) source.close();
    source = null;
  }
  function follow() {
    stop();
    if (!slugs.length || document.hidden) return;
    if (!window.EventSource) return poll();
    source = new EventSource(`/v1/tallies/live?${slugs.map((slug) => `tool=${slug}`).join("&")}`);
    source.onopen = () => say("Live");
    source.addEventListener("tally", (event) => {
      const told = JSON.parse(event.data);
      show(told.tool, told, Number(event.lastEventId));
      review(told.tool, told.under_review);
    });
    source.onerror = () => {
      say("Reconnecting…");
      if (!source || source.readyState !== EventSource.CLOSED) return; // the browser tries again by itself
      retryAt = Date.now() + RETRY;
      stop();
      poll();
    };
  }
  async function poll() {
    if (document.hidden) return;
    try {
      for (const slug of slugs) {
        const answer = await fetch(`/v1/tools/${slug}`);
        if (!answer.ok) throw new Error(String(answer.status));
        const card = await answer.json();
        show(slug, card.community, card.position);
        review(slug, card.under_review);
      }
      say("Updated every few seconds");
    } catch {
      say("Reconnecting…");
    }
    timer = setTimeout(window.EventSource && Date.now() > retryAt ? follow : poll, POLL);
  }
  document.addEventListener("visibilitychange", () => (document.hidden ? stop() : follow()));
  window.addEventListener("pagehide", stop);
  window.addEventListener("pageshow", (event) => {
    if (!event.persisted) return;
    follow();
    own = fillIn("[data-vote]");
  });
  follow();

  // Writing: the API's own calls. A first one makes the visitor; a browser that keeps no cookie is told why nothing counts.
  const NO_COOKIE =
    "Your browser refused our cookie, so this can't count: the cookie is all that keeps one reader to one vote. Allow cookies for this site and try again.";
  // The cookie can't be read here. So it is remembered that a visitor was made, in any window: whoever is none yet asks for
  // nothing of their own. To ask for a visitor once too often does no harm: the same one is answered.
  const VISITOR = "ballotpress visitor";
  let isKnown = false;
  const remember = () => {
    isKnown = true;
    try {
      localStorage.setItem(VISITOR, "made");
    } catch {
      // nothing is kept here: this page alone knows
    }
  };
  const known = () => {
    try {
      return isKnown || Boolean(localStorage.getItem(VISITOR));
    } catch {
      return isKnown;
    }
  };
  if (document.querySelector("[data-known]")) remember(); // a page of the visitor's own says that the cookie came along
  async function write(method, url, body, place) {
    const visit = async () => {
      const made = await fetch("/v1/visitors", { method: "POST" });
      if (made.ok) remember();
      return made;
    };
    const send = (more) =>
      fetch(url, { method, body: body && JSON.stringify(body), headers: { ...(body && { "Content-Type": "application/json" }), ...more } });
    let answer;
    try {
      const first = known() ? null : await visit();
      answer = first && !first.ok ? first : await send();
      if (answer.status === 401) {
        const made = await visit();
        answer = made.ok ? await send() : made;
        if (answer.status === 401) throw new Error(NO_COOKIE);
      }
      if (answer.status === 428) {
        place.textContent = "One moment…";
        const { solve } = await import("/puzzle.js");
        answer = await send({ "Ballotpress-Puzzle": await solve((await answer.json()).puzzle) });
        if (answer.status === 428) throw new Error("That took too long, so nothing was counted. Try again.");
      }
    } catch (error) {
      throw error instanceof TypeError ? new Error("No connection, so nothing was counted. Try again.") : error;
    }
    if (answer.ok) return answer.json();
    const untold = answer.status === 429 ? "That was a lot at once. Wait a little and try again." : "That didn't work. Try again."; // by a proxy
    throw new Error((await answer.json().catch(() => ({}))).detail || untold);
  }
  const press = (form, choice) => {
    form.dataset.choice = choice || "";
    for (const button of all("button[name=choice]", form)) {
      if (button.value === "none") button.hidden = !choice;
      else button.setAttribute("aria-pressed", String(button.value === choice));
    }
  };
  const SAID = { ship: "Your vote is counted: ship.", skip: "Your vote is counted: skip.", none: "Your vote is taken back." };
  async function vote(form, button, place) {
    const slug = form.dataset.vote;
    const url = `/v1/tools/${slug}/vote`;
    const answer = button.value === "none" ? await write("DELETE", url) : await write("PUT", url, { choice: button.value }, place);
    if (button.value === "none") form.querySelector("button").focus();
    press(form, answer.choice);
    show(slug, answer.community, Math.max(answer.position ?? 0, shown[slug] ?? 0));
    return SAID[button.value];
  }
  const mark = (form, keeps) => {
    const button = form.querySelector("button");
    button.value = keeps ? "no" : "yes";
    button.setAttribute("aria-pressed", String(keeps));
    form.querySelector("[data-part=keep]").textContent = keeps ? "Bookmarked" : "Bookmark";
  };
  let kept = 0; // where the last bookmark that was set here stands in the log: a list must have come so far
  async function setBookmark(slug, keeps) {
    const { position } = await write(keeps ? "PUT" : "DELETE", `/v1/bookmarks/${slug}`);
    kept = position ?? kept;
    all(`[data-bookmark="${slug}"]`).forEach((form) => mark(form, keeps));
  }
  async function keep(form, button) {
    const keeps = button.value === "yes";
    await setBookmark(form.dataset.bookmark, keeps);
    return keeps ? "Saved to your bookmarks." : "Removed from your bookmarks.";
  }
  const LOADING = "Loading bookmarks…";
  async function remove(form, place) {
    await setBookmark(form.dataset.remove, false);
    place.textContent = LOADING;
    const answer = await fetch(`/bookmarks?after=${kept}`);
    const read = new DOMParser().parseFromString(await answer.text(), "text/html");
    const list = document.querySelector("[data-bookmarks]");
    list.replaceWith(document.adoptNode(read.querySelector("[data-bookmarks]")));
    document.querySelector("main").focus();
    return "";
  }

  // A page is the same for everybody: what this reader did with its tools is asked for, if there may be anything.
  const MOST = 50;
  const STATUS = { pending: "waiting for a moderator", approved: "approved", rejected: "rejected" };
  const fill = ({ tool, choice, bookmarked, review }) => {
    for (const form of all(`[data-vote="${tool}"]`)) press(form, choice);
    for (const form of all(`[data-bookmark="${tool}"]`)) mark(form, bookmarked);
    for (const place of all(`[data-review="${tool}"] [data-part=review]`))
      place.textContent = review ? `Your review: ${STATUS[review.status]}` : "Write a review";
  };
  async function fillIn(which) {
    const asked = [...new Set(all(which).map((form) => form.dataset.vote))].slice(0, MOST);
    for (const tool of asked) if (!known()) fill({ tool, choice: null, bookmarked: false, review: null });
    if (!asked.length || !known()) return;
    try {
      const answer = await fetch(`/v1/visitors/me/tools?${asked.map((slug) => `tool=${slug}`).join("&")}`);
      if (answer.ok) (await answer.json()).items.forEach(fill);
    } catch {
      // the link to the reader's own page is still there
    }
  }
  let own = fillIn("[data-vote]:not([data-own])");

  document.addEventListener("submit", async (event) => {
    const form = event.target;
    const { vote: voted, bookmark, remove: removed } = form.dataset;
    const slug = voted || bookmark || (removed && "bookmarks");
    if (!slug) return;
    event.preventDefault();
    const button = event.submitter;
    if (form.getAttribute("aria-busy") === "true") return;
    const place = document.querySelector(`[data-said="${slug}"]`);
    form.setAttribute("aria-busy", "true");
    try {
      await own; // else what was before would be shown after what is done now
      place.textContent = await (voted ? vote(form, button, place) : bookmark ? keep(form, button) : remove(form, place));
    } catch (error) {
      place.textContent = error.message;
    }
    form.removeAttribute("aria-busy");
  });

  // The bookmarks open beside what is being read; their link leads to their own page.
  const make = (name, props, ...children) => {
    const made = Object.assign(document.createElement(name), props);
    made.append(...children);
    return made;
  };
  const NONE = () => [
    make("strong", { textContent: "No bookmarks yet" }),
    make("span", { textContent: "Bookmark tools to save them for later." }),
  ];
  function openDrawer() {
    const close = make("button", { type: "button", className: "quiet", textContent: "Close" });
    const said = make("p", { className: "empty" });
    said.setAttribute("role", "status");
    const list = make("ul", { className: "list" });
    const title = make("h2", { id: "drawer", textContent: "Bookmarks" });
    const whole = make("a", { href: "/bookmarks", textContent: "All bookmarks" });
    const drawer = make("dialog", { className: "drawer" }, make("div", { className: "between" }, title, close), said, list, whole);
    drawer.setAttribute("aria-labelledby", "drawer");
    const say = (...words) => {
      said.replaceChildren(...words);
      said.hidden = !words.length;
      list.hidden = !list.childElementCount;
    };
    const row = ({ slug, name, tagline }) => {
      const button = make("button", { type: "button", className: "quiet" }, "Remove", make("span", { className: "unseen", textContent: ` ${name}` }));
      const link = make("p", { className: "title" }, make("a", { href: `/tools/${slug}`, textContent: name, dir: "auto" }));
      const item = make("li", {}, make("div", { className: "between" }, link, button), make("p", { textContent: tagline, dir: "auto" }));
      button.addEventListener("click", async () => {
        button.disabled = true;
        try {
          await setBookmark(slug, false);
          (item.nextElementSibling ?? item.previousElementSibling ?? drawer).querySelector("button").focus();
          item.remove();
          say(...(list.childElementCount ? [] : NONE()));
        } catch (error) {
          button.disabled = false;
          say(error.message);
        }
      });
      return item;
    };
    const load = async () => {
      say(LOADING);
      try {
        const answer = known() ? await fetch(`/v1/bookmarks?limit=100&after=${kept}`) : null;
        if (answer && !answer.ok && answer.status !== 401) throw new Error(answer.status);
        list.append(...(answer?.ok ? (await answer.json()).items : []).map(row));
        say(...(list.childElementCount ? [] : NONE()));
      } catch {
        say("Your bookmarks can't be shown now. Try again.");
      }
    };
    close.addEventListener("click", () => drawer.close());
    drawer.addEventListener("click", (event) => event.target === drawer && drawer.close());
    drawer.addEventListener("close", () => drawer.remove());
    document.body.append(drawer);
    drawer.showModal();
    load();
  }
  for (const link of all("[data-drawer]:not([aria-current])"))
    link.addEventListener("click", (event) => {
      if (!window.HTMLDialogElement || event.ctrlKey || event.metaKey || event.shiftKey) return;
      event.preventDefault();
      openDrawer();
    });

  // Where issues keep to the reader's hour, a sign-up says the browser's time zone.
  for (const field of all("[data-zone]")) field.value = Intl.DateTimeFormat().resolvedOptions().timeZone || "";

  // What stands in a field to be copied.
  for (const button of all("[data-copy]")) {
    button.hidden = false;
    button.addEventListener("click", async () => {
      const field = document.getElementById(button.dataset.copy);
      field.select();
      await navigator.clipboard?.writeText(field.value).catch(() => document.execCommand("copy"));
      button.firstChild.data = "Copied";
    });
  }

  // What a form's redirect carried is shown; it needn't stay in the address.
  const here = new URL(location.href);
  if (here.searchParams.has("after") || here.searchParams.has("said")) {
    here.searchParams.delete("after");
    here.searchParams.delete("said");
    history.replaceState(null, "", here);
  }
})();
