// Checks the public log of a running site: node verifier.mjs URL. It follows docs/proof.md, on Node's own cryptography, and shares no
// code with anything of ours. Exit 0: right; 2: inconsistent; anything else: it could not be checked.

import { createHash, createPublicKey, verify } from "node:crypto";

const site = process.argv[2].replace(/\/$/, "");
const sha256 = (...parts) => createHash("sha256").update(Buffer.concat(parts)).digest();
const leafHash = (entry) => sha256(Buffer.from([0]), entry);
const nodeHash = (left, right) => sha256(Buffer.from([1]), left, right);

function must(holds, what) {
  if (!holds) {
    console.error(what);
    process.exit(2);
  }
}

async function get(path) {
  const answer = await fetch(site + path);
  if (!answer.ok) throw new Error(`${path}: ${answer.status}`);
  return Buffer.from(await answer.arrayBuffer());
}

function tilePath(n, width) {
  let digits = String(n % 1000).padStart(3, "0");
  for (n = Math.floor(n / 1000); n > 0; n = Math.floor(n / 1000)) digits = `x${String(n % 1000).padStart(3, "0")}/${digits}`;
  return width < 256 ? `${digits}.p/${width}` : digits;
}

// The root by the definition of RFC 6962, 2.1.
function rootOf(hashes) {
  if (hashes.length === 1) return hashes[0];
  let middle = 1;
  while (2 * middle < hashes.length) middle *= 2;
  return nodeHash(rootOf(hashes.slice(0, middle)), rootOf(hashes.slice(middle)));
}

async function checkpoint() {
  const [name, id, key] = (await get("/log/1/log.vkey")).toString().trim().split("+").map((part, n, all) => (n < 2 ? part : all.slice(2).join("+")));
  const raw = Buffer.from(key, "base64");
  must(sha256(Buffer.from(`${name}\n`), raw).subarray(0, 4).toString("hex") === id && raw[0] === 1, "the key's id is not its own");
  const publicKey = createPublicKey({ key: { kty: "OKP", crv: "Ed25519", x: raw.subarray(1).toString("base64url") }, format: "jwk" });
  const note = (await get("/log/1/checkpoint")).toString();
  const cut = note.lastIndexOf("\n\n");
  const [origin, size, root] = note.split("\n");
  const lines = note.slice(cut + 2).split("\n").filter((line) => line.startsWith(`\u2014 ${name} `));
  const signatures = lines.map((line) => Buffer.from(line.split(" ")[2], "base64")).filter((one) => one.subarray(0, 4).toString("hex") === id);
  must(origin === name && signatures.length > 0, "the log's key didn't sign the checkpoint");
  for (const one of signatures) must(verify(null, Buffer.from(note.slice(0, cut + 1)), publicKey, one.subarray(4)), "a signature is wrong");
  return { size: Number(size), root: Buffer.from(root, "base64") };
}

async function entries(size) {
  const found = [];
  for (let n = 0; n * 256 < size; n++) {
    const blob = await get(`/log/1/tile/entries/${tilePath(n, Math.min(256, size - 256 * n))}`);
    for (let at = 0; at < blob.length; at += 2 + blob.readUInt16BE(at)) found.push(blob.subarray(at + 2, at + 2 + blob.readUInt16BE(at)));
  }
  return found;
}

async function everyTile(leaves) {
  for (let level = 0, hashes = leaves; hashes.length; level++) {
    const above = [];
    for (let n = 0; n * 256 < hashes.length; n++) {
      const part = hashes.slice(256 * n, 256 * (n + 1));
      const served = await get(`/log/1/tile/${level}/${tilePath(n, part.length)}`);
      must(served.equals(Buffer.concat(part)), `tile ${level}/${n} is not what its entries make`);
      if (part.length === 256) above.push(rootOf(part));
    }
    hashes = above;
  }
}

const M = "(0|[1-9]\\d{0,9})", T = "([A-Za-z0-9_-]{21}[AQgw])", B = "([0-9a-f]{32})", C = "(ship|skip)";
const OF = `","minute":${M},"tool":"${T}","ballot":"${B}"`;
const VOTE = new RegExp(`^\\{"type":"Vote(?:Cast${OF},"choice":"${C}"(?:,"previous":"${C}")?|Retracted${OF},"previous":"${C}")\\}$`);
const SEALED = /^\{"sealed":"[0-9a-f]{64}"\}$/;
const PUBLIC = /^\{"type":"([A-Za-z]+)","minute":(0|[1-9]\d{0,9}),"data":(\{.*\})\}$/s;

const CATALOG = ["ToolAdded", "ToolRenamed", "FormerSlugAdded", "ToolDescribed", "ToolListed", "ToolUnlisted", "PanelReviewPublished", "PanelReviewRevised"];
const NAMING = CATALOG.slice(0, 3);
const OTHERS = ["PersonaDescribed", "ComparisonAnnounced", "EventDropped", "LogKeyAdded", "LogRestarted"];
const KINDS = { disqualified: "BallotsVoided", reinstated: "BallotsRestored" };
const none = () => ({ ship: 0, skip: 0 });

// The positions that the site's cards pass over: the announcement may stand anywhere behind them.
function droppedIn(texts) {
  const all = texts.map((text) => PUBLIC.exec(text)).filter((form) => form && form[1] === "EventDropped").map((form) => JSON.parse(form[3]));
  return new Set(all.filter((data) => data.projection === "cards").map((data) => data.position));
}

// What the entries add up to: tools by id with their tallies, ballots by tool and name. A tool's card stands under `card`, which
// is missing as long as the site passes over what added it.
function recount(texts) {
  const tools = new Map(), ballots = new Map(), ballotAt = new Map(), owners = new Map(), dropped = droppedIn(texts);
  const moved = new Map(), owed = new Map(), byWord = new Set();
  let minute = 0, named = null, namesAny = false;
  const turn = (position, text) => {
    must(Number(text) >= minute, `entry ${position}: its minute is before that of an earlier one`);
    minute = Number(text);
  };
  const sumsOf = (map, tool) => map.get(tool) ?? map.set(tool, none()).get(tool);

  // Ballots that were just named end with the corrections that directly follow, or belong to one that named none long ago.
  const conclude = (correction) => {
    if (!named || named.correction === correction) return;
    must(!moved.size || byWord.has(named.correction), `entry ${named.last} names ballots, and no correction directly behind it says what they come to`);
    for (const [tool, sums] of moved) for (const side of ["ship", "skip"]) sumsOf(owed, tool)[side] -= sums[side];
    moved.clear();
    named = null;
  };

  const vote = (position, tool, name, choice, previous) => {
    const of = tool + name, ballot = ballots.get(of) ?? {};
    must(tools.has(tool), `entry ${position}: a tool that was never added`);
    must(!ballot.voided, `entry ${position}: a vote on a voided ballot`);
    must(ballot.choice === previous && choice !== previous, `entry ${position}: it doesn't follow from its ballot`);
    ballots.set(of, { tool, choice, position, voided: false });
    ballotAt.set(position, of);
    if (dropped.has(position)) return;
    if (previous) tools.get(tool).tally[previous]--;
    if (choice) tools.get(tool).tally[choice]++;
  };

  const catalog = (position, type, data) => {
    const counts = !dropped.has(position), names = NAMING.includes(type), tool = tools.get(data.tool);
    if (names) {
      must((owners.get(data.slug) ?? data.tool) === data.tool, `entry ${position}: ${data.slug} leads to another tool`);
      owners.set(data.slug, data.tool);
    }
    if (type === "ToolAdded") {
      must(!(counts && tool?.card), `entry ${position}: ${tool?.slug} was added before`);
      tools.set(data.tool, { tally: none(), ...tool, slug: data.slug, ...(counts && { card: data.slug }) });
      return;
    }
    must(tool || !(counts || names), `entry ${position}: a tool that was never added`);
    if (type === "ToolDescribed" && counts) must((data.slug ?? tool.slug) === tool.slug, `entry ${position}: another slug takes a rename`);
    if (type !== "ToolRenamed") return;
    tool.slug = data.slug;
    if (counts && tool.card) tool.card = data.slug;
  };

  const turnOver = (position, type, { correction, ballots: places }) => {
    must(places.length > 0 && places.length <= 4000, `entry ${position} names ${places.length} ballots`);
    named = { correction, type, last: position };
    namesAny ||= type === "BallotsVoided";
    places.forEach((place, n) => {
      must(place > (n ? places[n - 1] : 0) && place < position, `entry ${position}: its positions don't rise, up to its own`);
      const ballot = ballots.get(ballotAt.get(place));
      must(ballot && ballot.position === place, `entry ${position}: ${place} is not the last entry of a ballot`);
      must(ballot.voided === (type === "BallotsRestored"), `entry ${position}: voided twice, or restored without being voided`);
      ballot.voided = !ballot.voided;
      if (ballot.choice) sumsOf(moved, ballot.tool)[ballot.choice] += ballot.voided ? -1 : 1;
    });
  };

  const correct = (position, { correction, action, votes, tools: told }) => {
    must(action in KINDS && (!named || named.type === KINDS[action]), `entry ${position} can't be ${action}`);
    const steps = told.map(({ before, after }) => ({ ship: after[0] - before[0], skip: after[1] - before[1] }));
    const listed = steps.reduce((sum, { ship, skip }) => sum + Math.abs(ship) + Math.abs(skip), 0);
    must(votes === listed && new Set(told.map((of) => of.tool)).size === told.length, `entry ${position} says that it changes ${votes} votes, and lists ${listed}`);
    if (!named && votes) byWord.add(correction);
    told.forEach(({ tool, before, after }, n) => {
      must(tools.has(tool), `entry ${position}: a tool that was never added`);
      must([...before, ...after].every((count) => Number.isInteger(count) && count >= 0), `entry ${position}: no tally has such a number`);
      const { tally } = tools.get(tool);
      must(before[0] === tally.ship && before[1] === tally.skip, `entry ${position}: before it ${tool} stood elsewhere`);
      for (const side of ["ship", "skip"]) {
        const step = steps[n][side];
        if (named) {
          must(step === (moved.get(tool)?.[side] ?? 0), `entry ${position}: after it ${tool} stands elsewhere by its ballots`);
        } else {
          const owes = (sumsOf(owed, tool)[side] += step);
          must(owes <= 0 && (!step || step > 0 === (action === "reinstated")), `entry ${position}: it gives votes that nobody lost, or takes some in giving`);
        }
      }
      moved.delete(tool);
      [tally.ship, tally.skip] = after;
    });
    if (named) named.last = position;
  };

  texts.forEach((text, index) => {
    const position = index + 1, found = VOTE.exec(text);
    if (found) {
      const [when, ...said] = found[1] === undefined ? [found[6], found[7], found[8], undefined, found[9]] : found.slice(1, 6);
      conclude();
      turn(position, when);
      return vote(position, ...said);
    }
    if (SEALED.test(text)) return conclude();
    const form = PUBLIC.exec(text);
    must(form, `entry ${position} has none of the known forms`);
    turn(position, form[2]);
    const type = form[1], data = JSON.parse(form[3]), isNaming = type === "BallotsVoided" || type === "BallotsRestored";
    must(!type.startsWith("Vote"), `entry ${position}: a vote has another form than this`);
    conclude(isNaming || type === "CorrectionRecorded" ? data.correction : undefined);
    if (isNaming) turnOver(position, type, data);
    else if (type === "CorrectionRecorded") correct(position, data);
    else if (CATALOG.includes(type)) catalog(position, type, data);
    else if (!OTHERS.includes(type)) throw new Error(`entry ${position} is of a type, ${type}, that is not known here`);
  });
  conclude();
  for (const [tool, { ship, skip }] of owed) must(!namesAny || (!ship && !skip), `corrections of ${tool} that name no ballots don't come to those named later`);
  return tools;
}

async function compare(tools, size) {
  const own = new Map([...tools.values()].filter((tool) => tool.card).map((tool) => [tool.card, tool.tally]));
  let compared = 0;
  for (let cursor = ""; cursor !== null; ) {
    const page = JSON.parse(await get(`/v1/tools?limit=100${cursor && `&cursor=${encodeURIComponent(cursor)}`}`));
    for (const card of page.items.filter((one) => one.position <= size)) {
      const tally = own.get(card.slug);
      must(tally && tally.ship === card.community.ship && tally.skip === card.community.skip, `${card.slug} is not what the log comes to`);
      compared++;
    }
    cursor = page.next;
  }
  return compared;
}

const { size, root } = await checkpoint();
const all = await entries(size);
must(all.length === size, `${all.length} entries are served, not ${size}`);
const leaves = all.map(leafHash);
await everyTile(leaves);
must(rootOf(leaves).equals(root), "the entries don't make the signed root");
const tools = recount(all.map((entry) => entry.toString()));
console.log(`ok ${size} entries; ${await compare(tools, size)} tools are what the site shows`);
