// Checks a visitor's own votes: the checkpoint's signature, that each entry is in the tree it signs, that it is this visitor's and says what
// the page says, that a ballot's entries are one chain, and that the log begins with what this browser saw last. Nothing is taken from
// the server's word. Tree and proofs: RFC 9162, 2.1.3.2 and 2.1.4.2; notes and keys: C2SP signed-note and tlog-checkpoint.
"use strict";
(async () => {
  const KEPT = "ballotpress proof";
  const VOTE = /^\{"type":"Vote(Cast|Retracted)","minute":\d+,"tool":"[\w-]{22}","ballot":"[0-9a-f]{32}"(,"choice":"(ship|skip)")?(,"previous":"(ship|skip)")?\}$/;
  const mine = document.querySelector("[data-visitor]");
  const verdict = document.querySelector("[data-part=verdict]");
  const say = (text, isBad) => {
    verdict.textContent = text;
    verdict.classList.toggle("bad", Boolean(isBad));
  };
  const text = new TextEncoder();
  const bytes = (base64) => Uint8Array.from(atob(base64), (character) => character.charCodeAt(0));
  const joined = (...parts) => Uint8Array.from(parts.flatMap((part) => [...part]));
  const sha256 = async (...parts) => new Uint8Array(await crypto.subtle.digest("SHA-256", joined(...parts)));
  const node = (left, right) => sha256([1], left, right);
  const hex = (raw) => Array.from(raw, (byte) => byte.toString(16).padStart(2, "0")).join("");
  const same = (a, b) => hex(a) === hex(b);
  const half = (n) => Math.floor(n / 2); // sizes may pass 2^32, which the operators on bits don't
  const fail = (why) => {
    throw new Error(why);
  };

  // Folds a proof's hashes; `both` is called with each hash and whether it stands on the left.
  async function climb(index, last, hashes, both) {
    for (const hash of hashes) {
      if (!last || hash.length !== 32) return false;
      const isLeft = index % 2 === 1 || index === last;
      await both(hash, isLeft);
      if (isLeft) while (index && index % 2 === 0) [index, last] = [half(index), half(last)];
      [index, last] = [half(index), half(last)];
    }
    return last === 0;
  }
  async function isIn(index, size, leaf, hashes, root) {
    let made = leaf;
    const ended = index < size && (await climb(index, size - 1, hashes, async (hash, isLeft) => {
      made = isLeft ? await node(hash, made) : await node(made, hash);
    }));
    return ended && same(made, root);
  }
  async function begins(old, size, oldRoot, root, hashes) {
    if (old === size) return !hashes.length && same(oldRoot, root);
    let [index, last] = [old - 1, size - 1];
    while (index % 2) [index, last] = [half(index), half(last)];
    const path = index ? [...hashes] : [oldRoot, ...hashes];
    const first = path.shift();
    if (!first) return false;
    let [was, is] = [first, first];
    const ended = await climb(index, last, path, async (hash, isLeft) => {
      if (isLeft) was = await node(hash, was);
      is = isLeft ? await node(hash, is) : await node(is, hash);
    });
    return ended && same(was, oldRoot) && same(is, root);
  }

  // Reads a checkpoint, and checks that a key has signed it; `isSigned` is null in a browser that can't tell.
  async function read(note, vkey) {
    const at = note.indexOf("\n\n") + 1;
    const [origin, size, root] = note.slice(0, at).split("\n");
    const [name, id, key] = vkey.split(/\+(.*?)\+(.*)/s);
    const raw = bytes(key);
    const isKey = raw[0] === 1 && name === origin && hex(await sha256(text.encode(`${name}\n`), raw)).startsWith(id);
    const lines = note.slice(at + 1).split("\n").map((line) => line.split(" "));
    const line = isKey && lines.find(([dash, who, what]) => dash === "\u2014" && who === name && hex(bytes(what).slice(0, 4)) === id);
    let isSigned = false;
    if (line) {
      try {
        const imported = await crypto.subtle.importKey("raw", raw.slice(1), "Ed25519", false, ["verify"]);
        isSigned = await crypto.subtle.verify("Ed25519", imported, bytes(line[2]).slice(4), text.encode(note.slice(0, at)));
      } catch (error) {
        isSigned = error.name === "NotSupportedError" ? null : false; // a key that is no key must not pass for a browser's lack
      }
    }
    return { origin, size: Number(size), root: bytes(root), isSigned, note };
  }

  // Checks one ballot's entries against what is proven and shown; returns how many wait for a checkpoint.
  async function check(ballot, proofs, checkpoint) {
    const name = hex(await sha256(text.encode(`ballotpress ballot v1\n${mine.dataset.visitor}\n${ballot.dataset.tool}`))).slice(0, 32);
    let waiting = 0;
    let before = "whole" in ballot.dataset ? "" : null;
    for (const shown of ballot.querySelectorAll("[data-position]")) {
      const said = shown.querySelector("[data-part=said]");
      const tell = (words) => (said.textContent = words);
      const bad = (why) => {
        tell(why);
        fail(`Entry ${shown.dataset.position}: ${why}`);
      };
      const proof = proofs.get(Number(shown.dataset.position)) ?? bad("the site gives no proof of it.");
      if (!VOTE.test(proof.entry)) bad("it isn’t spelled as a vote is, so others would read it otherwise.");
      const entry = JSON.parse(proof.entry);
      const choice = entry.choice ?? "";
      if (entry.tool !== ballot.dataset.tool || entry.ballot !== name) bad("it isn’t under your name.");
      if (choice !== shown.dataset.choice) bad("the log says something else than this page.");
      if (before !== null && (entry.previous ?? "") !== before) bad("an entry before it is missing here.");
      before = choice;
      if (proof.hashes) {
        const leaf = await sha256([0], text.encode(proof.entry));
        if (!(await isIn(proof.position - 1, checkpoint.size, leaf, proof.hashes.map(bytes), checkpoint.root))) bad("it is not in the log that was signed.");
        tell("✓ in the signed log");
      } else {
        if (proof.position <= checkpoint.size) bad("the site gives no proof of it.");
        waiting++;
        tell("waits for the next checkpoint");
      }
      proofs.delete(proof.position);
    }
    return waiting;
  }

  // What this browser saw last, and whether the log still begins with it.
  function standing(count, waiting) {
    if (waiting === count) return count === 1 ? "waits for the next checkpoint" : "wait for the next checkpoint";
    const which = waiting ? `all but ${waiting}, which the next checkpoint will cover, are` : count === 1 ? "is" : "are";
    return `${which} in the signed log`;
  }

  async function compare(kept, checkpoint, answer) {
    if (!kept) return "Your browser keeps this checkpoint and will compare the log with it next time.";
    const old = await read(kept.note, kept.vkey);
    const hashes = answer.consistency?.map(bytes) ?? [];
    if (old.size > checkpoint.size || !(await begins(old.size, checkpoint.size, old.root, checkpoint.root, hashes))) {
      const both = document.createElement("pre");
      both.textContent = `${old.note}\n\n${checkpoint.note}`;
      verdict.after(both);
      fail("The log is not what it was when you last looked. Keep both checkpoints below and show them to others: they can’t both be true.");
    }
    const newKey = kept.vkey === answer.vkey ? "" : " It has a new key since then; the log itself must say so.";
    return `It begins with all ${old.size.toLocaleString("en-US")} entries that your browser saw last time.${newKey}`;
  }

  try {
    if (!globalThis.crypto?.subtle) fail("Browsers check signatures on https pages only.");
    say("Checking…");
    const kept = JSON.parse(localStorage.getItem(KEPT));
    const asked = await fetch(`/proof/mine.json${kept ? `?from=${kept.size}` : ""}`);
    if (!asked.ok) fail("The proofs can’t be had just now. Try again in a moment.");
    const answer = await asked.json();
    const checkpoint = await read(answer.checkpoint, answer.vkey);
    if (checkpoint.isSigned === false) fail("The log’s signature is wrong.");
    const since = await compare(kept, checkpoint, answer);
    const proofs = new Map(answer.entries.map((proof) => [proof.position, proof]));
    const count = proofs.size;
    let waiting = 0;
    for (const ballot of mine.querySelectorAll("[data-tool]")) waiting += await check(ballot, proofs, checkpoint);
    if (proofs.size) fail("There are entries of yours that this page doesn’t show. Load it again.");
    const entries = count === 1 ? "The entry is yours, says" : `All ${count} entries are yours, say`;
    const unsure = checkpoint.isSigned === null ? " Your browser can’t check signatures of this kind, so that is still to be done." : "";
    say(`Right. ${entries} what stands here, and ${standing(count, waiting)}. ${since}${unsure}`);
    if (!unsure) localStorage.setItem(KEPT, JSON.stringify({ size: checkpoint.size, note: checkpoint.note, vkey: answer.vkey }));
  } catch (error) {
    say(error.message, true);
  }
})();
