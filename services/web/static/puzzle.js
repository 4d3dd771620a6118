// A moment of work that a vote brings along while its tool asks for it: tries numbers until one comes to what is wanted. Pages and the
// widget load it when they are asked. The browser computes beside the page, which stays as quick as it was.
const text = new TextEncoder();
const hex = (bits) => Array.from(new Uint8Array(bits), (byte) => byte.toString(16).padStart(2, "0")).join("");

export async function solve({ token, salt, cost, most, wanted }) {
  if (!globalThis.crypto?.subtle) {
    throw new Error("Votes for this tool take a moment of work just now, which browsers do on https pages only. Try again in an hour.");
  }
  const how = { name: "PBKDF2", hash: "SHA-256", salt: text.encode(salt), iterations: cost };
  for (let number = 0; number < most; number++) {
    const raw = await crypto.subtle.importKey("raw", text.encode(String(number)), "PBKDF2", false, ["deriveBits"]);
    const key = hex(await crypto.subtle.deriveBits(how, raw, 256));
    if (key.startsWith(wanted)) return `${token}:${key}`;
  }
  throw new Error("That didn't work. Try again.");
}
