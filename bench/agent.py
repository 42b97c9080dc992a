"""The agent as a process of its own on a real Modbus TCP device: memory, and processor time a read."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from bench.modbus import modbus_device
from bench.process import processor_seconds, resident_mb

SECONDS = 20.0
DEVICES = 5
INTERVAL_MS = 1_000


def measure() -> dict[str, float]:
    """Return resident memory in MB after some records, and milliseconds of processor time a device read."""
    with tempfile.TemporaryDirectory() as folder, modbus_device() as port:
        config = Path(folder) / "gateway.yaml"
        config.write_text(_configuration(port), encoding="utf-8")
        command = [sys.executable, "-m", "shopfloor", "agent"]
        subprocess.run([*command, "key", str(config)], check=True, capture_output=True)
        process = subprocess.Popen([*command, "run", str(config)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            time.sleep(SECONDS / 4)
            before = processor_seconds(process.pid)
            time.sleep(SECONDS)
            spent = processor_seconds(process.pid) - before
            resident = resident_mb(process.pid)
        finally:
            process.terminate()
            process.wait(30)
    reads = SECONDS * DEVICES * 1000 / INTERVAL_MS
    return {"rss_mb": resident, "cpu_ms_per_read": spent * 1000 / reads}


def _configuration(port: int) -> str:
    devices = [
        {"id": f"meter-{unit}", "model": "pulse-meter", "unit": unit, "interval": f"{INTERVAL_MS}ms"}
        for unit in range(1, DEVICES + 1)
    ]
    connection = {"id": "cabinet", "protocol": "modbus-tcp", "host": "127.0.0.1", "port": port, "devices": devices}
    return json.dumps(
        {
            "gateway": "bench-01",
            "key_file": "bench.key",
            "data_directory": "spool",
            "flush": "5s",
            "spool_bytes": "64MiB",
            "connections": [connection],
        }
    )
