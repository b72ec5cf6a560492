"""When things happened in, where the time of training went out."""

import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax
from jax import monitoring

COMPILED = "/jax/core/compile/backend_compile_duration"
"""jax's name for a program that was compiled, or found among those compiled before."""

SETTLING = 10
"""Steps of a session before its profile begins."""


class Window(NamedTuple):
    """What happened since the last line of the log."""

    began: float
    first: int
    """Steps done when the window began."""
    waited: float = 0.0
    """Seconds that the loop stood still because no batch was ready."""
    devices: float = 0.0
    """Seconds that it stood still because the devices were not done."""
    speech: float = 0.0
    """Seconds of speech, padding not counted."""
    utterances: int = 0
    flops: float = 0.0
    """Operations of matrix products, forward and backward, recomputation not counted."""

    def add(
        self, waited: float, devices: float, speech: float, utterances: int, flops: float
    ) -> "Window":
        """The window with one more step."""
        return self._replace(
            waited=self.waited + waited,
            devices=self.devices + devices,
            speech=self.speech + float(speech),
            utterances=self.utterances + int(utterances),
            flops=self.flops + flops,
        )

    def numbers(self, done: int, peak: float = 0.0) -> dict[str, float]:
        """What the log says of speed at step `done`; `peak` are the operations a second that all
        devices can do at most, 0 where that is not known.

        Shares of the time: waiting for data (`wait_share`), for the devices (`device_share`), and
        all that the host does between (`host_share`).
        """
        seconds = max(time.perf_counter() - self.began, 1e-9)
        numbers = {
            "steps_per_second": (done - self.first) / seconds,
            "utterances_per_second": self.utterances / seconds,
            "hours_per_hour": self.speech / seconds,
            "wait_share": self.waited / seconds,
            "device_share": self.devices / seconds,
            "host_share": max(1 - (self.waited + self.devices) / seconds, 0.0),
            "tflops_per_second": self.flops / seconds / 1e12,
        }
        if peak:
            numbers["mfu"] = self.flops / seconds / peak
        return numbers


class Compilations:
    """Counts the programs that this process compiles from now on."""

    def __init__(self) -> None:
        self.count = 0
        monitoring.register_event_duration_secs_listener(self._listen)

    def _listen(self, event: str, duration: float, **_: Any) -> None:
        del duration
        self.count += event == COMPILED


def most_memory() -> float:
    """MiB that the fullest device has held at most so far; on a CPU, this process."""
    held = [
        (device.memory_stats() or {}).get("peak_bytes_in_use", 0)
        for device in jax.local_devices()
        if device.platform != "cpu"
    ]
    if any(held):
        return max(held) / 2**20
    unit = 2**20 if sys.platform == "darwin" else 2**10
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit


class Profile:
    """jax's profiler over `steps` steps, from the tenth after `start` on, up to step `end`; nothing
    for 0 steps."""

    def __init__(
        self, directory: Path, start: int, steps: int, end: int, say: Callable[[str], None]
    ) -> None:
        self.directory, self.say = directory, say
        self.first = start + SETTLING
        self.last = min(self.first + steps - 1, end)

    def begin(self, done: int) -> None:
        """Call before step `done`."""
        if done == self.first <= self.last:
            jax.profiler.start_trace(str(self.directory))

    def end(self, done: int, result: Any) -> None:
        """Call after step `done`, whose `result` is waited for before recording ends."""
        if done == self.last >= self.first:
            jax.block_until_ready(result)
            jax.profiler.stop_trace()
            self.say(
                f"profile: steps {self.first} to {self.last} are in {self.directory}; look at them "
                f"with tensorboard --logdir {self.directory} (it needs tensorboard-plugin-profile)"
            )
