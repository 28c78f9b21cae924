"""What a batch says in the terminal: a line per event with an ETA, and a summary that shows what failed."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, TextIO

from mtl.reporting.status import NotebookJob, Outcome, notebook_status

HEARTBEAT_SECONDS = 60.0


@dataclass(frozen=True)
class BatchEvent:
    """kind: begin, started, again, ended or tick (several a second); ``entry``: the job's in run.json."""

    kind: str
    job: NotebookJob | None = None
    entry: dict[str, Any] = field(default_factory=dict)
    position: int = 0  # of the job, in dependency order
    total: int = 0
    up_to_date: int = 0
    ended: int = 0
    running: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    eta_seconds: float | None = None
    workers: int = 1
    noun: str = "notebook"  # what the jobs are


class Estimator:
    """Seconds to go, from how long each notebook took last time (or is said to take, or the others took)."""

    def __init__(self, jobs: Sequence[NotebookJob], workers: int = 1) -> None:
        self.workers = max(1, workers)
        self.known = {job.key: notebook_status(job).get("last_seconds", job.expected_seconds) for job in jobs}
        self.began: dict[Any, float] = {}
        self.needs = {job.key: [(job.run_directory, name) for name in job.needs] for job in jobs}

    def learn(self, job: NotebookJob, seconds: float | None) -> None:
        """A job has ended: its time tells of those that are like it."""
        if seconds is not None:
            self.known[job.key] = seconds

    def remaining(
        self, running: Sequence[NotebookJob], waiting: Sequence[NotebookJob], clock: float | None = None
    ) -> float | None:
        """The larger of work / workers and the longest chain; None while nothing is known of any job."""
        clock = time.monotonic() if clock is None else clock
        guesses = [seconds for seconds in self.known.values() if seconds is not None]
        if not guesses:
            return None
        typical = sum(guesses) / len(guesses)
        left: dict[Any, float] = {}
        for job in running:
            self.began.setdefault(job.key, clock)
            expected = self.known[job.key] or typical
            left[job.key] = max(0.0, expected - (clock - self.began[job.key]))
        left |= {job.key: self.known[job.key] or typical for job in waiting}
        chains: dict[Any, float] = {}
        for key in self.needs:  # in dependency order
            chains[key] = left.get(key, 0.0) + max((chains.get(n, 0.0) for n in self.needs[key]), default=0.0)
        return max([sum(left.values()) / self.workers, *chains.values()])


class TerminalProgress:
    """``on_update`` for people: plain lines in a log file; in a terminal the last line keeps moving."""

    def __init__(self, stream: TextIO | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        self.stream = stream or sys.stdout
        self.clock = clock
        self.live = self.stream.isatty()
        self.last_beat = clock()
        self.width = 0
        self.began: dict[str, float] = {}

    def __call__(self, event: BatchEvent) -> None:
        if event.kind == "begin":
            self.line(begin_text(event))
        elif event.kind == "started" and event.job:
            self.began[event.job.name] = self.clock()
            self.line(f"{_place(event)} {event.job.name:<28} started{_eta(event)}")
        elif event.kind == "again" and event.job:
            self.line(f"{_place(event)} {event.job.name:<28} was killed; it goes on from its last checkpoint")
        elif event.kind == "ended" and event.job:
            self.line(f"{_place(event)} {event.job.name:<28} {ended_text(event.entry)}{_eta(event)}")
        elif event.kind == "tick" and event.running:
            self.beat(event)

    def beat(self, event: BatchEvent) -> None:
        due = self.clock() - self.last_beat >= (1.0 if self.live else HEARTBEAT_SECONDS)
        if not due:
            return
        self.last_beat = self.clock()
        states = [f"{name} {self.elapsed(name)}{_cell(entry)}" for name, entry in event.running]
        text = f"{'':7} {'; '.join(states)}{_eta(event)}"
        if self.live:
            self.stream.write("\r" + text.ljust(self.width))
            self.width = len(text)
            self.stream.flush()
        else:
            self.line(text)

    def elapsed(self, name: str) -> str:
        return clock_text(self.clock() - self.began.setdefault(name, self.clock()))

    def line(self, text: str) -> None:
        if self.live and self.width:
            self.stream.write("\r" + " " * self.width + "\r")
            self.width = 0
        self.last_beat = self.clock()
        print(text, file=self.stream, flush=True)


def begin_text(event: BatchEvent) -> str:
    to_run = event.total - event.up_to_date
    done = f", {event.up_to_date} up to date" if event.up_to_date else ""
    eta = f", about {clock_text(event.eta_seconds)}" if event.eta_seconds is not None else ""
    workers = f"{event.workers} worker{'s' if event.workers > 1 else ''}"
    return f"{to_run} {event.noun}{'s' if to_run != 1 else ''} to run{done}; {workers}{eta}"


def ended_text(entry: dict[str, Any]) -> str:
    status = entry.get("status", "")
    if status == "ok":
        return f"ok {clock_text(entry.get('seconds', 0)):>12}"
    failure = entry.get("failure", {})
    what = f"{failure.get('ename', '')}: {failure.get('evalue', '')}" if failure else entry.get("reason", "")
    return f"{status.upper()}  {_first_line(what)}"


def summary_text(outcomes: Sequence[Outcome]) -> str:
    """A table of notebook, status and time; then, for each failure, its cell, its error and its file."""
    width = max([len(outcome.job.name) for outcome in outcomes], default=8)
    rows = [
        f"  {o.job.name:<{width}}  {o.status:<8} {clock_text(o.seconds) if o.seconds is not None else '':>7}"
        f"  {'up to date' if o.up_to_date else o.reason}".rstrip()
        for o in outcomes
    ]
    failures = [failure_text(outcome) for outcome in outcomes if outcome.status in ("failed", "dead")]
    return "\n".join(rows + failures)


def failure_text(outcome: Outcome) -> str:
    """The failing cell of one notebook, for a person who wants to put it right."""
    failure = outcome.failure
    where = f", cell {failure['cell'] + 1}" if "cell" in failure else ""
    lines = ["", f"{outcome.job.name} {outcome.status}{where}"]
    lines += [f"    | {line}" for line in failure.get("source", "").splitlines()]
    if failure.get("line"):
        lines.append(f"    at: {failure['line']}")
    message = f"{failure['ename']}: {failure['evalue']}" if failure else outcome.reason
    lines += [f"    {line}" for line in message.splitlines()]
    if outcome.job.failed_copy.exists():
        lines.append(f"    kept: {outcome.job.failed_copy}")
    return "\n".join(lines)


def clock_text(seconds: float | None) -> str:
    """``0:42``, ``12:05``, ``1:02:03``."""
    whole = round(seconds or 0)
    hours, rest = divmod(whole, 3600)
    return f"{hours}:{rest // 60:02d}:{rest % 60:02d}" if hours else f"{rest // 60}:{rest % 60:02d}"


def _place(event: BatchEvent) -> str:
    return f"[{event.position}/{event.total}]".ljust(7)


def _eta(event: BatchEvent) -> str:
    finished = event.up_to_date + event.ended >= event.total
    return "" if event.eta_seconds is None or finished else f"   ETA {clock_text(event.eta_seconds)}"


def _cell(entry: dict[str, Any]) -> str:
    where = f"cell {entry['cell']} of {entry['cells']}" if "cell" in entry and "cells" in entry else ""
    training = entry.get("training")
    step = f"{training['label']}: step {training['done']} of {training['total']}" if training else ""
    said = ", ".join(text for text in (where, step) if text)
    return f" ({said})" if said else ""


def _first_line(text: str) -> str:
    return text.strip().splitlines()[0][:200] if text.strip() else ""
