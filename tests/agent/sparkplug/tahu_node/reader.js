// Reads payloads with the library of Eclipse Tahu: one a line in hexadecimal on standard input, JSON on standard output.
"use strict";

const readline = require("node:readline");
const sparkplug = require("sparkplug-payload").get("spBv1.0");

const plain = (_key, value) => (value !== null && typeof value === "object" && "unsigned" in value ? Number(value) : value);

readline.createInterface({ input: process.stdin }).on("line", (line) => {
  console.log(JSON.stringify(sparkplug.decodePayload(Buffer.from(line, "hex")), plain));
});
