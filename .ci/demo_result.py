"""Checks what ``shopfloor demo --once --json FILE`` wrote: nothing lost or added, and the truth inside the claim."""

import json
import sys
from pathlib import Path

result = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
records = result["records"]
saving = next(kpi for kpi in result["kpis"] if kpi["id"] == "saving")
low, high = saving["interval"]
truth = result["truth"]["change"]
bytes_a_sample = result["wire_bytes"] / result["samples"]
checks = {
    "made = committed": records["made"] == records["committed"],
    "committed = verified": records["committed"] == records["verified"],
    "nothing quarantined": records["quarantined"] == 0,
    "chain intact": result["chain"]["intact"] is True,
    f"true change {truth:.4f} inside [{low:.4f}, {high:.4f}]": low <= truth <= high,
    f"{bytes_a_sample:.2f} bytes a sample, at most 3": bytes_a_sample <= 3,
}
for text, holds in checks.items():
    print("ok  " if holds else "FAIL", text)
print("seconds:", result["seconds"])
sys.exit(0 if all(checks.values()) else 1)
