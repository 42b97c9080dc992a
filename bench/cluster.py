"""Past one machine: what a record costs three NATS servers with three copies, two workers and the database.

All of it runs on this machine, so that the rate says little; the processor time a record is what sizing rests on. The
servers share the gateways' connections among themselves; here all come to the first.
"""

from __future__ import annotations

import contextlib
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from bench.ingest import ingestion, interleaved, make, send
from bench.nats_cluster import NatsCluster
from bench.process import family, processor_seconds
from bench.publisher import Publisher
from bench.records import SAMPLES
from ingest.server_key import load_server_key
from store.database import connect
from store.embedded import EmbeddedPostgres
from store.gateways import add_gateway
from store.migrations import migrate
from wire.keys import SigningKey

GATEWAYS = 20
WARM_UP, LAST = 100, 700
WORKERS = 2


def measure() -> dict[str, float]:
    """Return records/s and samples/s until acknowledged, and processor time a record of each part."""
    keys = {f"bench-{n:02}": SigningKey.generate() for n in range(GATEWAYS)}
    with ProcessPoolExecutor() as makers:
        made = makers.map(make, keys, (key.seed for key in keys.values()), range(GATEWAYS))
        chains = dict(zip(keys, made, strict=True))
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        directory = Path(folder)
        postgres = stack.enter_context(EmbeddedPostgres(directory / "postgres"))
        cluster = stack.enter_context(NatsCluster(directory / "nats", open_to_all=True).running())
        with connect(postgres.url) as conn:
            migrate(conn)
            for gateway, key in keys.items():
                add_gateway(conn, gateway, key.public.raw)
        server = load_server_key(directory / "server.key").public
        workers = [stack.enter_context(ingestion(directory, postgres.url, cluster.url())) for _ in range(WORKERS)]
        port = cluster.nodes[0].ports["mqtt"]
        publisher = stack.enter_context(contextlib.closing(Publisher(port, list(keys), server)))
        processes = {
            "workers": [worker.pid for worker in workers],
            "broker": [node.pid for node in cluster.nodes],
            "database": [postgres.pid],
        }
        send(publisher, publisher.encode(interleaved(chains, 0, WARM_UP)))
        packets = publisher.encode(interleaved(chains, WARM_UP, LAST))
        before, began = _spent(processes), time.perf_counter()
        send(publisher, packets)
        seconds = time.perf_counter() - began
        after = _spent(processes)
    return {
        "records_per_s": len(packets) / seconds,
        "samples_per_s": len(packets) * SAMPLES / seconds,
        **{f"{name}_cpu_us_per_record": (after[name] - before[name]) / len(packets) * 1e6 for name in processes},
    }


def _spent(processes: dict[str, list[int]]) -> dict[str, float]:
    return {
        name: sum(processor_seconds(one) for pid in pids for one in family(pid)) for name, pids in processes.items()
    }
