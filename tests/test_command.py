"""What all commands share."""

import subprocess
import sys

import pytest

from jaxseg import command, compress, evaluate, export, inspect, predict, process, train
from jaxseg.models import __main__ as models


@pytest.mark.parametrize("verb", [train, evaluate, predict, export, compress, inspect, models])
def test_every_help_ends_with_the_exit_codes(verb, capsys):
    with pytest.raises(SystemExit) as end:
        verb.main(["--help"])
    text = " ".join(capsys.readouterr().out.split())
    assert end.value.code == 0 and "example: python -m jaxseg." in text
    assert text.endswith(command.EXIT_CODES)


def test_paragraphs_of_an_epilog_stay_apart(capsys):
    made = command.parser(prog="x", epilog="example: " + "word " * 40)
    lines = made.format_help().splitlines()
    at = next(n for n, line in enumerate(lines) if line.startswith("exit codes"))
    assert lines[at - 1] == "" and lines[at - 2].endswith("word") and len(lines[at - 2]) <= 80


def test_a_signal_has_the_exit_code_of_the_shell():
    assert [process.exit_code(by) for by in ("SIGINT", "SIGTERM")] == [130, 143]
    assert [process.exit_code(by) for by in (None, "patience", "until")] == [0, 0, 0]


def test_an_interrupt_before_the_first_step_is_130():
    code = "from jaxseg import command\ndef main(_): raise KeyboardInterrupt\ncommand.run(main, [])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 130 and not done.stderr
