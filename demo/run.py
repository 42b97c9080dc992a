"""The demonstration: from nothing to a verdict, then live.

Only the plant is simulated (or replayed), and only the agent's clock is driven while history is made. Records are made,
sent, admitted, stored and evaluated by the product itself, in processes of their own as in real operation.
"""

from __future__ import annotations

import asyncio
import json
import signal
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path

from agent.clock import Clock, DrivenClock
from agent.config import GatewayConfig
from agent.runtime import AgentStatistics, run_agent
from dashboards.dossier import load_dossier
from dashboards.errors import AddressInUseError
from dashboards.server import serving
from demo.almanac import DAY_MS
from demo.errors import DemoError, SurroundingsError
from demo.gateway import GATEWAY
from demo.outcome import Outcome
from demo.progress import Narrator
from demo.scenario import Scenario
from demo.stage import Stage, set_stage
from demo.verification import verify_stored
from store.database import connect
from store.dirty import dirty_count
from store.quarantine import quarantine_count
from store.records import counts, read_records

DEFAULT_PORT = 8000
INTERRUPTED = 130

_PATIENCE_S = 120.0
_POLL_S = 0.1
_DRAIN_S = 60.0
_LIVE_DRAIN_S = 3.0


@dataclass(frozen=True)
class Options:
    """What was asked for.

    ``once``: end when the evidence is there. ``json_file``: where to write the outcome. ``port``: of the pages; None
    takes 8000, or any free one. ``keep``: folder for everything that is made, which then stays; None takes a temporary
    one.
    """

    scenario: Scenario
    once: bool = False
    json_file: Path | None = None
    port: int | None = None
    keep: Path | None = None


def run_demo(options: Options, narrator: Narrator | None = None) -> int:
    """Run the demonstration; returns the exit code: 0 done, 1 records are missing or not authentic, 130 interrupted.

    Ctrl-C and SIGTERM end it in order: no process and no temporary file is left. Raises `wire.errors.ShopfloorError`
    for wrong input and failing surroundings.
    """
    narrator = Narrator() if narrator is None else narrator
    if options.json_file is not None and not options.json_file.absolute().parent.is_dir():
        raise DemoError(f"{options.json_file}: the folder to write it into does not exist")
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        return _perform(options, narrator)
    except KeyboardInterrupt:
        narrator.say("Interrupted; everything has been stopped.")
        return INTERRUPTED
    finally:
        signal.signal(signal.SIGTERM, before)


def _perform(options: Options, narrator: Narrator) -> int:
    with ExitStack() as stack:
        with narrator.phase("start", "Starting database, broker, plant"):
            stage = stack.enter_context(set_stage(options.scenario, options.keep))
        made = _make_history(stage, narrator)
        _await_intervals(stage, narrator)
        outcome = _gather(stage, made, narrator)
        if options.json_file is not None:
            text = json.dumps(outcome.to_json(), ensure_ascii=False, indent=2) + "\n"
            options.json_file.write_text(text, encoding="utf-8")
        narrator.console.print(outcome.table())
        for sentence in outcome.sentences():
            narrator.say(sentence)
        if not options.once:
            _stay(stage, options.port, narrator)
    return 0 if outcome.complete else 1


def _make_history(stage: Stage, narrator: Narrator) -> AgentStatistics:
    """Let the agent live through the history under a driven clock, the uplink beside it in real time.

    Returns when the server has acknowledged, hence committed, every record.
    """
    begin_ms, end_ms = stage.scenario.history_ms
    config = stage.configure("gateway-history.yaml", stage.scenario.history)
    days = round((end_ms - begin_ms) / DAY_MS)
    with narrator.phase("history", f"Reading {days} days of history") as phase:

        def progress(now_ms: int, done: AgentStatistics) -> None:
            phase.advance_to((now_ms - begin_ms) / (end_ms - begin_ms), f"{done.last_seq} records")

        clock = DrivenClock(begin_ms, stage.timebase.show)
        # The poll that closes the last interval falls on the end itself.
        made, interrupted = _run_agent(config, clock, end_ms + 1, progress, _DRAIN_S)
    if interrupted:
        raise KeyboardInterrupt
    stage.check()
    if made.acknowledged_seq < made.last_seq:
        raise SurroundingsError(
            f"of {made.last_seq} records only {made.acknowledged_seq} were acknowledged within {_DRAIN_S:.0f} s: "
            "the machine is too slow, or ingestion has stopped"
        )
    return made


def _run_agent(
    config: GatewayConfig,
    clock: Clock | None,
    until_ms: int | None,
    progress: Callable[[int, AgentStatistics], None] | None,
    drain_seconds: float,
) -> tuple[AgentStatistics, bool]:
    """Run the real agent in this process; tells also whether Ctrl-C or SIGTERM ended it, in order."""

    async def run() -> tuple[AgentStatistics, bool]:
        loop, stop = asyncio.get_running_loop(), asyncio.Event()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, stop.set)
        made = await run_agent(config, clock, until_ms, progress=progress, stop=stop, drain_seconds=drain_seconds)
        return made, stop.is_set()

    try:
        return asyncio.run(run())
    finally:
        # The loop takes its handlers with it.
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.default_int_handler)


def _await_intervals(stage: Stage, narrator: Narrator) -> None:
    """Wait until no day is left whose intervals are older than its records."""
    with narrator.phase("intervals", "Computing intervals") as phase:
        most = 1
        deadline = time.monotonic() + _PATIENCE_S
        with connect(stage.database_url, autocommit=True) as connection:
            while days := dirty_count(connection):
                if days < most:
                    deadline = time.monotonic() + _PATIENCE_S
                most = max(most, days)
                phase.advance_to(1.0 - days / most, f"{days} days left")
                stage.check()
                if time.monotonic() > deadline:
                    raise SurroundingsError(f"no intervals were computed for {_PATIENCE_S:.0f} s; {days} days are left")
                time.sleep(_POLL_S)


def _gather(stage: Stage, made: AgentStatistics, narrator: Narrator) -> Outcome:
    """Verify every stored record, then evaluate the project from what is stored."""
    with connect(stage.database_url) as connection:
        with narrator.phase("verification", "Verifying every stored record"):
            verification = verify_stored(read_records(connection, GATEWAY), stage.gateway_key, GATEWAY)
        with narrator.phase("evidence", "Computing evidence and proof"):
            dossier = load_dossier(connection, stage.scenario.project).to_json()
            truth = stage.scenario.truth()
        stored = counts(connection)[GATEWAY]
        return Outcome(
            made=made.last_seq,
            committed=stored.records,
            quarantined=quarantine_count(connection),
            samples=stored.samples,
            verification=verification,
            evaluation=dossier["evaluation"],
            proof=dossier["proof"],
            truth=truth,
            seconds=dict(narrator.seconds),
        )


def _stay(stage: Stage, port: int | None, narrator: Narrator) -> None:
    """Show the pages, and the plant as it is now, until Ctrl-C."""
    with ExitStack() as stack:
        try:
            address = stack.enter_context(serving(stage.database_url, port=DEFAULT_PORT if port is None else port))
        except AddressInUseError:
            if port is not None:
                raise
            address = stack.enter_context(serving(stage.database_url, port=0))
        narrator.say(f"\n  {address}/projects/{stage.scenario.project}\n  {address}/live\n\nCtrl-C ends everything.")
        if stage.scenario.live is None:
            with suppress(KeyboardInterrupt):
                signal.pause()
        else:
            stage.timebase.show(0)
            config = stage.configure("gateway-live.yaml", stage.scenario.live)
            _run_agent(config, None, None, None, _LIVE_DRAIN_S)
        narrator.say("Stopping ...")
