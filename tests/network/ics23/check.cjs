// Reads [{root, key, value, index, aunts}, ...] on stdin (hexadecimal, aunts from the bottom up) and prints which of them
// @confio/ics23 accepts as existence proofs of its Tendermint tree. Its own hashing, no code of ours.
const { ics23, tendermintSpec, verifyMembership } = require("@confio/ics23");

const bytes = (hex) => Uint8Array.from(Buffer.from(hex, "hex"));

function accepts({ root, key, value, index, aunts }) {
  const left = Uint8Array.of(1);
  const path = aunts.map((aunt, level) =>
    (BigInt(index) >> BigInt(level)) & 1n
      ? { hash: ics23.HashOp.SHA256, prefix: Uint8Array.from([1, ...bytes(aunt)]), suffix: new Uint8Array() }
      : { hash: ics23.HashOp.SHA256, prefix: left, suffix: bytes(aunt) },
  );
  const exist = { key: bytes(key), value: bytes(value), leaf: tendermintSpec.leafSpec, path };
  const proof = ics23.CommitmentProof.decode(ics23.CommitmentProof.encode({ exist }).finish());
  return verifyMembership(proof, tendermintSpec, bytes(root), bytes(key), bytes(value));
}

const cases = JSON.parse(require("fs").readFileSync(0, "utf8"));
console.log(JSON.stringify(cases.map(accepts)));
