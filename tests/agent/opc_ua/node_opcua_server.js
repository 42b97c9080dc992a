// A line with an OPC UA server (node-opcua), told what to do like asyncua_server.py: see there for arguments and commands.
// It forgets nothing, but has {"burst": name, "count": n}: as many changes, one every 50 ms.
"use strict";
const fs = require("fs");
const path = require("path");
const readline = require("readline");
const { OPCUAServer } = require("node-opcua-server");
const { OPCUACertificateManager } = require("node-opcua-certificate-manager");
const { MessageSecurityMode, SecurityPolicy } = require("node-opcua-secure-channel");
const { coerceStatusCode } = require("node-opcua-status-code");
const { DataType, Variant } = require("node-opcua-variant");

const [port, folder, ...options] = process.argv.slice(2);
const nodes = {};

function add(server, name, value, type) {
    const namespace = server.engine.addressSpace.getNamespace(2);
    nodes[name] = namespace.addVariable({
        organizedBy: server.engine.addressSpace.rootFolder.objects,
        nodeId: `ns=2;s=${name}`,
        browseName: name,
        dataType: type,
        minimumSamplingInterval: 10,
    });
    nodes[name].setValueFromSource(new Variant({ dataType: DataType[type], value }));
}

function set(command) {
    const stamp = command.source ? new Date(command.source) : new Date();
    nodes[command.set].setValueFromSource(
        new Variant({ dataType: DataType[command.type || "Double"], value: command.value }),
        coerceStatusCode(command.status || 0),
        stamp,
    );
}

function obey(server, command) {
    if (command.set) set(command);
    else if (command.add) add(server, command.add, 1.5, "Double");
    else if (command.burst) {
        for (let n = 0; n < command.count; n += 1) setTimeout(() => set({ set: command.burst, value: n }), 50 * n);
    }
}

async function main() {
    const certificates = new OPCUACertificateManager({
        rootFolder: path.join(folder, "pki"), automaticallyAcceptUnknownCertificate: true,
    });
    await certificates.initialize();
    const server = new OPCUAServer({
        port: Number(port),
        hostname: "127.0.0.1",
        resourcePath: "/line",
        serverCertificateManager: certificates,
        allowAnonymous: !options.includes("users"),
        userManager: { isValidUser: (name, password) => name === "line" && password === "secret" },
        securityPolicies: [
            SecurityPolicy.None, SecurityPolicy.Basic256Sha256, SecurityPolicy.Aes128_Sha256_RsaOaep,
            SecurityPolicy.Aes256_Sha256_RsaPss,
        ],
        securityModes: [MessageSecurityMode.None, MessageSecurityMode.Sign, MessageSecurityMode.SignAndEncrypt],
    });
    await server.initialize();
    server.engine.addressSpace.registerNamespace("urn:test:line:nodes");
    add(server, "Power", 10.0, "Double");
    add(server, "GoodCount", 7, "UInt32");
    add(server, "Running", true, "Boolean");
    add(server, "Order", "A-1", "String");
    await server.start();
    fs.writeFileSync(path.join(folder, "certificate.der"), server.getCertificate());
    console.log("ready");
    const lines = readline.createInterface({ input: process.stdin });
    lines.on("line", (text) => {
        obey(server, JSON.parse(text));
        console.log("done");
    });
    lines.on("close", () => process.exit(0));
}

main().catch((error) => { console.error(error); process.exit(1); });
