// A Modbus TCP server for the tests: node server.js PORT. Says "ready", and ends when its standard input does.
"use strict";
const { ServerTCP } = require("modbus-serial");

const SILENT_UNIT = 9;
const MISSING_REGISTER = 4;

function answer(value) {
    return function (address, unit, callback) {
        if (unit === SILENT_UNIT) return;
        if (address === MISSING_REGISTER) callback({ modbusErrorCode: 2 });
        else callback(null, value(address, unit));
    };
}

const server = new ServerTCP(
    {
        getCoil: answer((address) => address % 3 === 0),
        getDiscreteInput: answer((address) => address % 2 === 0),
        getHoldingRegister: answer((address, unit) => 1000 * unit + address),
        getInputRegister: answer((address) => 65535 - address),
    },
    { host: "127.0.0.1", port: Number(process.argv[2]), unitID: 255 },
);
server.on("initialized", () => console.log("ready"));
process.stdin.on("end", () => process.exit(0)).resume();
