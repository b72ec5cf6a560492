"""Command line in, a checked dataclass out; every mistake ends in one line. Imports no jax."""

import contextlib
import io
import os
import re
import sys
import threading
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NoReturn, TypeVar

from sat_jax import cloud
from sat_jax.config import Config, Distributed
from sat_jax.config.json import read_run
from sat_jax.config.kinds import choose_kinds
from sat_jax.errors import FULL, InputError, unwritable
from sat_jax.peers import wait_for_verdict

T = TypeVar("T")
C = TypeVar("C", bound=Config)

# A box drawn around a message, or a rule inside of it.
_FRAME = re.compile(r"[\u2500-\u257f]+")

ALONE = (
    "distributed: this command runs in one process, on all devices of its host; leave "
    "--distributed away"
)
"""What a command says to the options of a cluster that it does not have."""
_CLUSTER = re.compile(
    rf"Unrecognized options: --distributed\.({'|'.join(Distributed.__annotations__)})\b"
)


def parse(run: Callable[[], T]) -> T:
    """The result of a tyro call, its boxed error turned into one line on stderr and status 2."""
    said = io.StringIO()
    called, sys.argv[0] = sys.argv[0], Path(sys.argv[0]).name
    try:
        with contextlib.redirect_stderr(said):
            return run()
    except SystemExit as stop:
        if stop.code:
            message = one_line(said.getvalue())
            print(f"error: {ALONE if _CLUSTER.search(message) else message}", file=sys.stderr)
        else:
            sys.stderr.write(said.getvalue())
        raise
    finally:
        sys.argv[0] = called


def experiment_or_run(
    choices: Mapping[str, tuple[str, Config]],
    description: str,
    extended: Callable[[Config], C] = lambda config: config,
) -> C:
    """The config of the experiment, or of the run directory, that the command line begins with.

    `choices` are experiments, name to (description, config); what follows on the command line
    changes fields of the config, after it was `extended` by those of another command.
    """
    import tyro

    choices = {name: (about, extended(config)) for name, (about, config) in choices.items()}

    name = sys.argv[1] if len(sys.argv) > 1 else ""
    if name in choices:
        about, config = choices[name]
        config, rest = choose_kinds(config, sys.argv[2:])
        some = {**choices, name: (about, config)}
        return parse(
            lambda: tyro.extras.overridable_config_cli(
                some, args=[name, *rest], description=description
            )
        )
    place = cloud.fetched(Path(name), "plan")
    if not (place / "config.json").exists():
        return parse(lambda: tyro.extras.overridable_config_cli(choices, description=description))
    run, rest = choose_kinds(extended(read_run(place, Path(name))), sys.argv[2:])
    return parse(lambda: tyro.cli(type(run), default=run, args=rest, description=description))


def as_called(text: str) -> str:
    """`text` with the commands named as this one was: `python train.py`, or `sat-train`.

    A line that begins with a command is a paragraph of its own, which help pages keep.
    """
    text = re.sub(r"(?m)^(python )", r"\n\1", text)
    if not Path(sys.argv[0]).name.startswith("sat-"):
        return text
    return re.sub(r"python (train|analyze|export|attention|convert|plan)\.py", r"sat-\1", text)


def one_line(boxed: str) -> str:
    """The message of a tyro error box as one line, with its suggestions and without its help."""
    lines = [_FRAME.sub(" ", line).strip() for line in boxed.splitlines()[1:]]
    message, suggestions = [], []
    for line in filter(None, lines):
        if line.startswith(("For full helptext", "Argument helptext")):
            break
        if line.startswith("Perhaps you meant") or suggestions:
            suggestions.append(line)
        else:
            message.append(line)
    text = " ".join(message).rstrip(".")
    options = dict.fromkeys(re.findall(r"^--[\w.-]+", "\n".join(suggestions), re.M))
    return text + (f"; did you mean {' or '.join(options)}?" if options else "; see --help")


def stop(message: str, status: int = 2) -> NoReturn:
    """Print one line on stderr and leave at once.

    Waits for no thread, no other process and no terminal that is paused: after a failure in a
    multi-process run, a normal exit would sit in a barrier that the others never reach.
    """

    def say() -> None:
        with contextlib.suppress(OSError, ValueError):
            print(f"error: {message}", file=sys.stderr, flush=True)
            sys.stdout.flush()

    speaker = threading.Thread(target=say, daemon=True)
    speaker.start()
    speaker.join(5)
    os._exit(status)


def guarded(main: Callable[[], None]) -> None:
    """Run a script's `main`; what the user can mend ends in one line and not in a traceback.

    Anything else shows its traceback and ends the process at once: see `stop`.
    """
    try:
        main()
    except InputError as error:
        stop(str(error), error.status)
    except KeyboardInterrupt:
        stop("interrupted; the same command starts again where the last finished part ended", 130)
    except BrokenPipeError:
        os._exit(141)  # what reads our output, such as head, has enough
    except Exception as error:
        if isinstance(error, OSError) and error.errno in FULL:
            stop(str(unwritable(error.filename or "a file that was being written", error)))
        wait_for_verdict(error)
        traceback.print_exc()
        stop(
            f"{type(error).__name__}: not foreseen, so it may be a fault of this program; what was "
            "finished before is kept",
            1,
        )
