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

// What the entries add up to: tools by id with their tallies, ballots by tool and name.
function recount(texts) {
  const tools = new Map(), ballots = new Map(), ballotAt = new Map();
  const moved = new Map(), owners = new Map();
  let minute = 0;
  const turn = (position, text) => {
    must(Number(text) >= minute, `entry ${position}: its minute is before that of an earlier one`);
    minute = Number(text);
  };
  texts.forEach((text, index) => {
    const position = index + 1, vote = VOTE.exec(text);
    if (vote) {
      const [when, tool, name, choice, previous] = vote[1] === undefined ? [vote[6], vote[7], vote[8], undefined, vote[9]] : vote.slice(1, 6);
      turn(position, when);
      const of = tool + name, ballot = ballots.get(of) ?? {};
      must(tools.has(tool), `entry ${position}: a tool that was never added`);
      must(!ballot.voided, `entry ${position}: a vote on a voided ballot`);
      must(ballot.choice === previous && choice !== previous, `entry ${position}: it doesn't follow from its ballot`);
      if (previous) tools.get(tool).tally[previous]--;
      if (choice) tools.get(tool).tally[choice]++;
      ballots.set(of, { tool, choice, position, voided: false });
      ballotAt.set(position, of);
      return;
    }
    if (SEALED.test(text)) return;
    const form = PUBLIC.exec(text);
    must(form, `entry ${position} has none of the known forms`);
    turn(position, form[2]);
    const type = form[1], data = JSON.parse(form[3]);
    if (type === "ToolAdded" || type === "ToolRenamed" || type === "FormerSlugAdded") {
      must((owners.get(data.slug) ?? data.tool) === data.tool, `entry ${position}: ${data.slug} leads to another tool`);
      owners.set(data.slug, data.tool);
    }
    if (type === "ToolAdded") tools.set(data.tool, { slug: data.slug, tally: { ship: 0, skip: 0 } });
    if (type === "ToolRenamed") tools.get(data.tool).slug = data.slug;
    if (type === "BallotsVoided" || type === "BallotsRestored") {
      for (const place of data.ballots) {
        const ballot = ballots.get(ballotAt.get(place));
        must(ballot && ballot.position === place, `entry ${position}: ${place} is not the last entry of a ballot`);
        must(ballot.voided === (type === "BallotsRestored"), `entry ${position}: voided twice, or restored without being voided`);
        ballot.voided = !ballot.voided;
        const sums = moved.get(ballot.tool) ?? { ship: 0, skip: 0 };
        if (ballot.choice) sums[ballot.choice] += ballot.voided ? -1 : 1;
        moved.set(ballot.tool, sums);
      }
    }
    if (type === "CorrectionRecorded") {
      for (const { tool, before, after } of data.tools) {
        const { tally } = tools.get(tool), sums = moved.get(tool) ?? { ship: 0, skip: 0 };
        must(before[0] === tally.ship && before[1] === tally.skip, `entry ${position}: before it ${tool} stood elsewhere`);
        must(after[0] === tally.ship + sums.ship && after[1] === tally.skip + sums.skip, `entry ${position}: after it ${tool} stands elsewhere`);
        [tally.ship, tally.skip] = after;
        moved.delete(tool);
      }
    }
  });
  for (const [tool, sums] of moved) must(!sums.ship && !sums.skip, `no correction says that ballots on ${tool} were voided or restored`);
  return tools;
}

async function compare(tools, size) {
  const own = new Map([...tools.values()].map((tool) => [tool.slug, tool.tally]));
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
