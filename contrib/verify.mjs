// Verifies a Tenure export without Tenure: Node 18 or later, nothing installed, no network.
//   node contrib/verify.mjs FILE.zip [keys.txt]      prints JSON; exit 0 verified, 6 not, 2 usage
// Checks: the zip's directory, digests and signature of the manifest, checkpoints, the root over all leaves
// (from the signed start of a later range on) and at anchors, proofs of single entries, every body and pseudonym,
// completeness, every grade and the counts by grade. `tenure audit verify` also rebuilds table, page and
// reconciliation, and asks for the intents, answers and reads behind each grade.
import { createHash, createPublicKey, verify as verifySignature } from "node:crypto";
import { openSync, readFileSync, readSync, statSync } from "node:fs";
import { createGunzip, inflateRawSync } from "node:zlib";
import { Readable } from "node:stream";
const MOST_SMALL = 16 << 20, MOST_BODY = 16384, MOST_LINE = 6 * MOST_BODY + 64, MOST_ENVELOPE = 2048, MOST_PROBLEMS = 100;
const problems = [], notes = []; let problemCount = 0;
const add = (member, what, index = null) => {
  if ((problemCount += 1) <= MOST_PROBLEMS) problems.push({ member, index, what });
};
const sha256 = (...parts) => parts.reduce((hash, part) => hash.update(part), createHash("sha256")).digest();
const leafHash = (raw) => sha256(Uint8Array.of(0), raw), nodeHash = (left, right) => sha256(Uint8Array.of(1), left, right);
const refuse = (what) => { throw new Error(what); };

// --- zip: stored and deflated members of a plain archive ---------------------------------------------------
function openZip(path) {
  const stats = statSync(path), size = stats.size, fd = stats.isFile() ? openSync(path, "r") : refuse("this is no file");
  const at = (offset, length) => {
    const buffer = offset < 0 || length < 0 || offset + length > size ? refuse("the zip file is cut off") : Buffer.alloc(length);
    return readSync(fd, buffer, 0, length, offset) === length ? buffer : refuse("the zip file is cut off");
  };
  const end = at(size - 22, 22), count = end.readUInt16LE(10), start = end.readUInt32LE(16);
  if (end.readUInt32LE(0) !== 0x06054b50) refuse("this is no zip file, or it has a comment");
  if (count === 0xffff || start === 0xffffffff) refuse("zip64 is not read here; use tenure audit verify");
  const directory = at(start, end.readUInt32LE(12)), members = new Map(), folded = new Set();
  for (let place = 0, n = 0; n < count; n += 1) {
    if (place + 46 > directory.length || directory.readUInt32LE(place) !== 0x02014b50) refuse("the zip directory is damaged");
    const short = (by) => directory.readUInt16LE(place + by), long = (by) => directory.readUInt32LE(place + by);
    const nameEnd = place + 46 + short(28), name = directory.toString("latin1", place + 46, nameEnd);
    const one = { flags: short(8), method: short(10), packed: long(20), plain: long(24), offset: long(42) };
    if (folded.size === folded.add(name.toLowerCase()).size) add(name, "a member stands there twice, or but for its case");
    if (!/^[!-~ ]+$/.test(name) || /[\\:]/.test(name) || name.split("/").some((p) => ["", ".", ".."].includes(p)))
      add(name, "the name leads out of the bundle or is no plain file's");
    if (one.flags & 1 || ![0, 8].includes(one.method) || one.plain > MOST_SMALL + 1000 * one.packed)
      refuse(`${name}: the member is packed in a foreign way or expands beyond measure`);
    members.set(name, one), place = nameEnd + short(30) + short(32);
  }
  const lengthsOf = (local) => local.readUInt16LE(26) + local.readUInt16LE(28);
  const dataOf = (one) => one.offset + 30 + lengthsOf(at(one.offset, 30));
  function* chunks(name) {
    const one = members.get(name), from = dataOf(one);
    if (one.method === 8) {
      if (one.packed > 4 * MOST_SMALL) refuse(`${name}: too large to be deflated`);
      return yield inflateRawSync(at(from, one.packed), { maxOutputLength: Math.min(one.plain + 1, 64 * MOST_SMALL) });
    }
    for (let done = 0; done < one.packed; done += 65536) yield at(from + done, Math.min(65536, one.packed - done));
  }
  const isSmall = (name) => members.has(name) && members.get(name).plain <= MOST_SMALL;
  const read = (name) => isSmall(name) ? Buffer.concat([...chunks(name)]) : refuse(`${name}: the member is missing or too large`);
  return { names: [...members.keys()], has: (name) => members.has(name), chunks, read, size };
}
async function* lines(zip, name, most = MOST_LINE) {
  const source = Readable.from(zip.chunks(name)).pipe(createGunzip());
  let rest = Buffer.alloc(0), budget = MOST_SMALL + 1000 * zip.size;
  for await (const chunk of source) {
    rest = rest.length ? Buffer.concat([rest, chunk]) : chunk;
    let from = 0;
    for (let to; (to = rest.indexOf(10, from)) !== -1; from = to + 1) {
      if (to - from > most) refuse(`${name}: a line is too long`);
      if (most === MOST_LINE && rest[to - 1] !== 125) refuse(`${name}: a line does not end as an object does`);
      yield rest.subarray(from, to);
    }
    rest = rest.subarray(from);
    budget -= chunk.length;
    if (rest.length > most || budget < 0) refuse(`${name}: a line is too long, or it unpacks beyond measure`);
  }
  if (rest.length) refuse(`${name}: the last line has no end`);
}

// --- keys, notes, DSSE -------------------------------------------------------------------------------------
const base64 = (text) => {
  const raw = Buffer.from(text ?? "", "base64");
  return raw.toString("base64") === text ? raw : refuse("malformed base64");
};
function parseKey(line) {
  const [vkey, first = "0", last = ""] = line.split(" "), [name, hint, ...rest] = vkey.split("+"), encoded = rest.join("+");
  const typed = base64(encoded);
  if (typed.length !== 33 || typed[0] !== 1) refuse("a line of the keys is no Ed25519 verifier key");
  if (sha256(`${name}\n`, typed).subarray(0, 4).toString("hex") !== hint) refuse("a key's hash is not its own");
  const key = createPublicKey({ key: Buffer.concat([Buffer.from("302a300506032b6570032100", "hex"), typed.subarray(1)]), format: "der", type: "spki" });
  return { name, hint, id: `${name}+${hint}`, key, first: Number(first), last: last ? Number(last) : Infinity };
}
const readKeys = (text) => text.split("\n").map((l) => l.trim()).filter((l) => l && !l.startsWith("#")).map(parseKey);
const signs = (key, message, signature) => verifySignature(null, Buffer.from(message), key.key, signature);
function openCheckpoint(note, keys) {
  const cut = note.lastIndexOf("\n\n"), text = note.slice(0, cut + 1), [origin, size, root, rest] = text.split("\n");
  if (cut < 0 || !note.endsWith("\n") || rest !== "" || text.split("\n").length !== 4) refuse("this is no checkpoint");
  if (!/^(0|[1-9][0-9]{0,15})$/.test(size)) refuse("the checkpoint's size is no number");
  let good = 0;
  for (const line of note.slice(cut + 2, -1).split("\n")) {
    const [dash, name, encoded] = line.split(" "), blob = base64(encoded);
    if (dash !== "\u2014" || blob.length < 5) refuse("a signature line is malformed");
    const hint = blob.subarray(0, 4).toString("hex");
    for (const key of keys.filter((k) => k.name === name && k.hint === hint)) {
      if (Number(size) < key.first || Number(size) > key.last) continue;
      if (!signs(key, text, blob.subarray(4))) refuse(`the signature of ${name} does not belong to this text`);
      good += 1;
    }
  }
  return good ? { origin, size: Number(size), root: base64(root) } : refuse(`no known key signed the checkpoint of the log ${origin}`);
}
function openManifest(raw, keys) {
  const { payload, payloadType, signatures } = JSON.parse(raw.toString());
  const message = base64(payload), { keyid, sig } = signatures[0];
  const form = `{"payload": ${JSON.stringify(payload)}, "payloadType": ${JSON.stringify(payloadType)}, "signatures": `
    + `[{"keyid": ${JSON.stringify(keyid)}, "sig": ${JSON.stringify(sig)}}]}\n`;
  if (payloadType !== "application/vnd.in-toto+json" || form !== raw.toString()) refuse("the manifest is no DSSE envelope");
  const pae = Buffer.concat([Buffer.from(`DSSEv1 28 ${payloadType} ${message.length} `), message]), known = keys.filter((key) => key.id === keyid);
  const statement = JSON.parse(message.toString()), log = statement.predicate.log;
  if (statement.predicateType !== "urn:tenure:deletion-evidence:v1") refuse("the manifest is of an unknown version");
  if (!known.some((k) => log.size >= k.first && log.size <= k.last && signs(k, pae, base64(sig))))
    add("manifest.dsse.json", "no known key signed the manifest");
  return statement;
}

// --- the tree (RFC 6962, RFC 9162) -------------------------------------------------------------------------
const rootOf = (stack) => stack.length ? stack.reduceRight((node, left) => nodeHash(left, node)) : sha256("");
function grow(tree, leaf) {
  let node = leaf;
  for (let full = tree.size; full % 2 === 1; full = Math.floor(full / 2)) node = nodeHash(tree.stack.pop(), node);
  tree.stack.push(node), tree.size += 1;
}
function included(index, size, leaf, proof, root) {
  if (!(index >= 0 && index < size)) return false;
  let place = index, last = size - 1, node = leaf;
  for (const one of proof) {
    if (last === 0) return false;
    if (place % 2 || place === last) {
      node = nodeHash(one, node);
      while (place % 2 === 0 && place) [place, last] = [place / 2, Math.floor(last / 2)];
    } else node = nodeHash(node, one);
    [place, last] = [Math.floor(place / 2), Math.floor(last / 2)];
  }
  return last === 0 && node.equals(root);
}

// --- grades, version 1 -------------------------------------------------------------------------------------
const SENT = ["acknowledged", "malformed", "lost", "error"];
const ownAttempt = (p) => p.armed && p.before === "present" && (SENT.includes(p.answer) || p.answer === "none");
function countingRead(reads, own) {
  const kept = reads.map(([seen, control]) => [seen, own || control !== "route_only" ? control : "failed"]);
  return kept.find(([s, c]) => s === "object_absent" && ["good", "route_only"].includes(c)) ?? kept.at(-1) ?? ["none", "none"];
}
function ofArmed(armed, reads, own, reread) {
  const [after, control] = countingRead(reads, own), answer = armed.answer === "none" ? "lost" : armed.answer;
  return { before: armed.before, answer, after, control, children: armed.children, reread, earlier: false };
}
function fold(passes, reread) {
  const nothing = { before: "none", answer: "none", after: "none", control: "none", children: "none", earlier: false, reread: null };
  if (!passes.length) return nothing;
  const last = passes.at(-1), counting = passes.slice(0, -1).filter(ownAttempt);
  if (last.armed && last.answer !== "unsent") return { ...ofArmed(last, last.afters, true, reread), earlier: counting.length > 0 };
  if (!counting.length) {
    const [after, seen] = countingRead(last.afters, true), control = last.afters.length ? seen : last.control;
    return { ...nothing, before: last.before, after, control, children: last.children, reread };
  }
  return ofArmed(counting.at(-1), [...(last.before === "none" ? [] : [[last.before, last.control]]), ...last.afters], false, reread);
}
function grade(e) {
  const after = e.earlier && e.before === "object_absent" && e.after === "none" ? "object_absent" : e.after;
  if (after === "present" || e.reread?.class === "present") return "still_present";
  if (e.before === "present" && e.answer === "none" && after === "none" && e.children === "some") return "partial";
  if (e.before === "object_absent" && e.answer === "none" && !e.earlier)
    return e.control === "good" ? "absent" : "unverifiable/control_failed";
  const absent = after === "object_absent" && (e.control === "good" || (e.control === "route_only" && e.before === "present"));
  if (absent && (e.earlier || (e.before === "present" && SENT.includes(e.answer)))) {
    if (e.children === "some") return "partial";
    if (e.reread?.class === "object_absent" && e.reread.control === "good") return "sustained";
    return e.before === "present" && e.answer === "acknowledged" ? "confirmed" : "inferred";
  }
  if (e.answer === "acknowledged") return "acknowledged";
  if (absent && e.before === "present") return "absent";
  const seen = [e.before, e.answer, after];
  if (seen.includes("denied")) return "unverifiable/forbidden";
  if (seen.includes("route_absent")) return "unverifiable/endpoint_retired";
  return seen.includes("object_absent") ? "unverifiable/control_failed" : "unverifiable/provider_error";
}

// --- entries -----------------------------------------------------------------------------------------------
const ENVELOPE = /^\{"body":"([0-9a-f]{64})","id":"[0-9a-f]{32}","project":(?:null|"([0-9a-f]{32})"),"subject":(?:null|"([0-9a-f]{32})"),"t":"([0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:]{8}\.[0-9]{6}Z)","type":"([a-z]{1,32}\.[a-z_]{1,32})","v":1\}$/;
const state = { entries: 0, bodies: 0, gone: 0, inWindow: 0, own: [], excused: [], newest: new Map(), names: new Map() };
function judgeEpoch(index, { held, anchored, origin, reason, agreed }, before) {
  if (before && (held.size !== index || held.root !== before)) add("bodies.jsonl.gz", "the epoch follows another tree than the leaves before it", index);
  if (notes.length < MOST_PROBLEMS) notes.push(`Entry ${index} opens the epoch ${origin} (${reason}). It follows ${anchored.origin}, anchored at size ${anchored.size}; behind entry ${agreed} that tree may have held others.`);
}
function judge(index, raw, body, stated, before = null) {
  const found = ENVELOPE.exec(raw.toString("latin1"));
  state.entries += 1;
  if (!found) return add("envelopes.jsonl.gz", "this is no envelope of version 1", index);
  const [, digest, project, subject, t, type] = found;
  const own = project === stated.project_pseudonym, inside = t >= stated.period.from && t < stated.period.to;
  state.inWindow += own && inside;
  const says = type === (project ? "body.shredded" : "log.pruned") && (own || !project);
  if (type === "log.epoch" ? body === undefined || project : says && body === undefined)
    return add("bodies.jsonl.gz", "the body of an epoch's first leaf, or of what says that others are gone, is missing or a project's", index);
  if (own) state.own.push([index, body !== undefined]);
  if (body === undefined) return undefined;
  if ((state.bodies += 1, body.length > MOST_BODY)) return add("bodies.jsonl.gz", "the body is longer than any entry's", index);
  const along = !project && (["log.pruned", "log.epoch"].includes(type) || (stated.scope?.kind === "erasure" && type.startsWith("erasure.")));
  if (!own && !along) return add("bodies.jsonl.gz", "the body belongs to an entry that is not of this project", index);
  if (sha256(body).toString("hex") !== digest) return add("bodies.jsonl.gz", "the body is not the one whose digest the envelope holds", index);
  const fields = JSON.parse(body);
  if (fields.type !== type || !fields.subject !== !subject || (own && fields.project !== stated.project)) add("bodies.jsonl.gz", "body and envelope differ", index);
  if (own && subject) for (const [one, other] of [[subject, fields.subject], [`of ${fields.subject}`, subject]])
    if (other !== (state.names.get(one) ?? state.names.set(one, other).get(one))) add("bodies.jsonl.gz", "a pseudonym is of two threads, or a thread of two", index);
  const gone = says ? fields.leaves : [], count = gone.reduce((sum, [from, to]) => sum + to - from, 0);
  if (says && (count !== fields.count || gone.some(([from, to]) => from < 0 || from >= to || to > index)))
    add("bodies.jsonl.gz", "what was shredded or pruned is no range of leaves before the entry, or counted otherwise", index);
  else state.excused.push(...gone);
  if (type === "log.epoch") judgeEpoch(index, fields, before);
  if (!own || type !== "thread.graded") return undefined;
  if (fields.grader_version !== 1) return add("bodies.jsonl.gz", `grader version ${fields.grader_version} is not known here`, index);
  const seen = grade(fold(fields.passes, fields.reread));
  if (seen !== fields.grade) add("bodies.jsonl.gz", `the grade is stated as ${fields.grade}, but what was seen supports ${seen}`, index);
  return inside ? void state.newest.set(subject, fields.grade.split("/")[0]) : undefined;
}
const readBody = (line) => { const { i, body } = JSON.parse(line.toString()); return [i, Buffer.from(body)]; };
async function throughRange(zip, stated, tree, anchors) {
  const bodies = lines(zip, "bodies.jsonl.gz"), next = async () => { const one = await bodies.next(); return one.done ? null : readBody(one.value); };
  let waiting = await next();
  for await (const raw of lines(zip, "envelopes.jsonl.gz", MOST_ENVELOPE)) {
    const index = tree.size, before = raw.includes('"type":"log.epoch"') ? rootOf(tree.stack).toString("hex") : null;
    if (index > stated.log.size) break;
    for (; waiting && waiting[0] < index; waiting = await next()) add("bodies.jsonl.gz", "the body is doubled or out of order", waiting[0]);
    const body = waiting && waiting[0] === index ? waiting[1] : undefined;
    if (body !== undefined) waiting = await next();
    grow(tree, leafHash(raw));
    for (; anchors.at(-1)?.size <= tree.size; anchors.pop())
      if (anchors.at(-1).size === tree.size && !anchors.at(-1).root.equals(rootOf(tree.stack))) add(anchors.at(-1).name, "the log had another root there: it was rewritten");
    judge(index, raw, body, stated, before);
  }
  if (waiting) add("bodies.jsonl.gz", "a body has no envelope", waiting[0]);
  let reach = 0, at = 0; state.excused.sort((a, b) => a[0] - b[0]);
  for (const [index, there] of state.own) {
    while (at < state.excused.length && state.excused[at][0] <= index) reach = Math.max(reach, state.excused[at++][1]);
    if (there !== index < reach) state.gone += !there;
    else add("bodies.jsonl.gz", there ? "the body is here, and an entry says that it is gone" : "the body of an entry of this project is missing", index);
  }
}
async function throughProofs(zip, stated, head, note) {
  let before = -1;
  for await (const line of lines(zip, "bodies.jsonl.gz")) {
    const [index, body] = readBody(line), name = `proofs/${index}.tlog-proof`;
    if (index <= before) add("bodies.jsonl.gz", "the body is doubled or out of order", index); else before = index;
    const text = zip.read(name).toString(), cut = text.indexOf("\n\n"), parts = text.slice(0, cut).split("\n");
    const raw = base64(parts[1].slice("extra ".length));
    const good = parts[0] === "c2sp.org/tlog-proof@v1" && parts[2] === `index ${index}` && text.slice(cut + 2) === note;
    if (!good || !included(index, head.size, leafHash(raw), parts.slice(3).map(base64), head.root))
      add(name, "the proof does not lead from the entry to the checkpoint", index);
    judge(index, raw, body, stated);
  }
}
async function main([file, keysFile]) {
  const zip = openZip(file);
  const keys = readKeys(keysFile ? readFileSync(keysFile, "utf8") : zip.read("keys.txt").toString());
  if (!keysFile) notes.push("The key came with the bundle and is not authenticated; give a keys.txt to check who signed.");
  const { subject, predicate: stated } = openManifest(zip.read("manifest.dsse.json"), keys);
  const named = new Map(subject.map((one) => [one.name, one.digest.sha256]));
  for (const name of zip.names) {
    if (name === "manifest.dsse.json") continue;
    const hash = createHash("sha256");
    for (const chunk of zip.chunks(name)) hash.update(chunk);
    if (hash.digest("hex") !== named.get(name)) add(name, "the digest is not the one in the manifest");
  }
  for (const name of named.keys()) if (!zip.has(name)) add(name, "the manifest names this member, and it is missing");
  const note = zip.read("checkpoint").toString(), head = openCheckpoint(note, keys), first = stated.log.first ?? 0;
  if (head.origin !== stated.log.origin || head.size !== stated.log.size || head.root.toString("hex") !== stated.log.root)
    add("manifest.dsse.json", "the manifest names another tree than the checkpoint");
  if ((stated.scope?.kind ?? "project") === "project") {
    const tree = { size: first, stack: [] };
    if (first) {
      const start = openCheckpoint(zip.read("checkpoint.start").toString(), keys);
      tree.stack = zip.read("frontier.start").toString().trim().split("\n").map(base64);
      if (start.size !== first || start.origin !== head.origin || !rootOf(tree.stack).equals(start.root)) add("frontier.start", "the frontier is not that of checkpoint.start");
    }
    const anchors = zip.names.filter((one) => one.startsWith("anchors/")).map((name) => ({ name, ...openCheckpoint(zip.read(name).toString(), keys) }));
    for (const one of anchors) if (one.origin !== head.origin) add(one.name, "the checkpoint is of another log");
    await throughRange(zip, stated, tree, anchors.sort((a, b) => b.size - a.size));
    if (tree.size !== head.size || !rootOf(tree.stack).equals(head.root)) add("envelopes.jsonl.gz", "the envelopes do not give the root of the checkpoint");
  } else await throughProofs(zip, stated, head, note);
  const grades = {};
  for (const word of [...state.newest.values()].sort()) grades[word] = (grades[word] ?? 0) + 1;
  if (JSON.stringify(grades) !== JSON.stringify(stated.grades)) add("manifest.dsse.json", "the counts by grade are others");
  if (state.inWindow !== stated.entries) add("manifest.dsse.json", "the number of entries in the period is another");
  return { project: stated.project, origin: head.origin, size: head.size, root: head.root.toString("hex"), grades };
}
if (process.argv.length < 3 || process.argv.length > 4) { console.error("usage: node verify.mjs FILE.zip [keys.txt]"); process.exit(2); }
let told = {};
try { told = await main(process.argv.slice(2)); } catch (broken) {
  if (broken.code === "ENOENT") { console.error(broken.message); process.exit(2); }
  add("", `this cannot be read: ${broken.message}`);
}
const { entries, bodies, gone: bodies_gone } = state, verified = problemCount === 0, key_authenticated = process.argv.length === 4;
console.log(JSON.stringify({ verified, key_authenticated, ...told, entries, bodies, bodies_gone, problems, problem_count: problemCount, notes }, null, 1));
process.exitCode = verified ? 0 : 6;
