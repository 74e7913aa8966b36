"""What all commands share: their parser, their exit codes, and how they end with an error."""

import argparse
import errno
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NoReturn

from jaxseg.errors import UserError

FULL_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)

EXIT_CODES = (
    "exit codes: 0 done, 1 some of the files could not be used, 2 bad input (one line says what), "
    "130 stopped by SIGINT (Ctrl-C), 143 by SIGTERM"
)


def run(main: Callable[[Sequence[str]], None], arguments: Sequence[str] | None = None) -> None:
    """Run a command: exit code 0 on success, 2 and one line on stderr on a user's mistake.

    So do files that the system refuses and memory that runs out, of host or device.
    """
    arguments = sys.argv[1:] if arguments is None else arguments
    debug = "--debug" in arguments
    try:
        main(arguments)
    except UserError as error:
        _fail(str(error), debug)
    except OSError as error:
        if error.errno is None or (error.filename is None and error.errno not in FULL_DISK):
            raise
        _fail(f"{error.filename or 'output'}: {os.strerror(error.errno)}", debug)
    except MemoryError as error:
        _fail(f"out of memory ({str(error) or 'host'}); use smaller images or patches", debug)
    except KeyboardInterrupt:
        raise SystemExit(130) from None
    except Exception as error:
        if "RESOURCE_EXHAUSTED" not in str(error):  # how XLA says it; its class is jaxlib's own
            raise
        _fail(
            "the device's memory does not suffice; lower batch_size, data.patch or "
            f"evaluation.window_batch, or set recipe.accumulate ({error})"[:400],
            debug,
        )


def parser(**fields: Any) -> argparse.ArgumentParser:
    """An ArgumentParser whose complaint is a UserError, so one line, instead of the usage.

    Below its own epilog stand the exit codes of all commands.
    """
    epilog = "\n\n".join(filter(None, (fields.pop("epilog", None), EXIT_CODES)))
    kind = fields.pop("formatter_class", Paragraphs)
    made = argparse.ArgumentParser(epilog=epilog, formatter_class=kind, **fields)

    def refuse(message: str) -> NoReturn:
        raise UserError(f"{message}; `{made.prog} --help` lists all options")

    made.error = refuse
    return made


class Paragraphs(argparse.HelpFormatter):
    """Wraps each paragraph of a description or an epilog on its own."""

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        parts = text.split("\n\n")
        return "\n\n".join(super(Paragraphs, self)._fill_text(p, width, indent) for p in parts)


def of_a_run(made: argparse.ArgumentParser, *, step: str) -> None:
    """Add what every command on a run takes; ``step`` says what a checkpoint is for."""
    made.add_argument("--workdir", type=Path, required=True, help="folder of the run")
    add_step(made, step)
    add_classes(made)
    add_debug(made)


def add_step(made: argparse.ArgumentParser, what: str) -> None:
    """Add ``--step`` and ``--unverified``; ``what`` says what the checkpoint is for."""
    made.add_argument("--step", type=int, help=f"checkpoint to {what} (default: the best)")
    add_unverified(made)


def add_unverified(made: argparse.ArgumentParser) -> None:
    """Add ``--unverified``."""
    made.add_argument(
        "--unverified",
        action="store_true",
        help="do not hold the checkpoint's arrays against the digests that were saved with them",
    )


def add_classes(made: argparse.ArgumentParser) -> None:
    """Add ``--classes``."""
    made.add_argument(
        "--classes",
        type=Path,
        metavar="FILE",
        help="Python file of the run's own classes, such as its config; it is run",
    )


def add_processes(made: argparse.ArgumentParser) -> None:
    """Add ``--distributed`` and what says which process this is."""
    made.add_argument(
        "--distributed",
        action="store_true",
        help="join the other processes of this run (found by JAX, or as the next three say)",
    )
    made.add_argument("--coordinator", metavar="HOST:PORT", help="address of process 0")
    made.add_argument("--processes", type=int, help="number of processes")
    made.add_argument("--process", type=int, help="number of this process")


def add_debug(made: argparse.ArgumentParser) -> None:
    """Add ``--debug``."""
    made.add_argument("--debug", action="store_true", help="show tracebacks")


def _fail(line: str, debug: bool) -> None:
    if debug:
        raise  # noqa: PLE0704 - called while handling the error
    print(f"jaxseg: error: {' '.join(line.split())}", file=sys.stderr)
    raise SystemExit(2)
