"""The one exception that means: the user can mend this. And how the commands end with it."""

import errno
import os
import sys
from collections.abc import Callable, Sequence

FULL_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class UserError(Exception):
    """A mistake in the input: one line that names the file or the option and what to change.

    The commands print it on stderr and exit with code 2; ``--debug`` shows the traceback.
    """


def run(main: Callable[[Sequence[str]], None], arguments: Sequence[str] | None = None) -> None:
    """Run a command: exit code 0 on success, 2 and one line on stderr on a user's mistake."""
    arguments = sys.argv[1:] if arguments is None else arguments
    try:
        main(arguments)
    except UserError as error:
        _fail(str(error), "--debug" in arguments)
    except OSError as error:
        if error.errno not in FULL_DISK:
            raise
        _fail(f"{error.filename or 'output'}: {os.strerror(error.errno)}", "--debug" in arguments)


def _fail(line: str, debug: bool) -> None:
    if debug:
        raise  # noqa: PLE0704 - called while handling the error
    print(f"jaxseg: error: {line}", file=sys.stderr)
    raise SystemExit(2)
