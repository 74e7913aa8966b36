"""The commands under one name: ``jaxseg train ...``, ``python -m jaxseg train ...``."""

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from jaxseg import __main__ as main
from jaxseg import __version__, command
from jaxseg.errors import UserError

ROOT = Path(__file__).parent.parent


def test_the_console_script_is_that_module():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project["scripts"] == {"jaxseg": f"{main.__name__}:{main.run.__name__}"}


@pytest.mark.parametrize("arguments", [[], ["--help"], ["-h"]])
def test_help_names_every_command_that_is_there(arguments, capsys):
    main.main(arguments)
    out = capsys.readouterr().out
    there = ("train", "evaluate", "predict", "export", "compress", "hub")
    there += ("config", "list", "models")
    assert all(f"\n  {name} " in out for name in there) and "example: " in out
    main.main(["--version"])
    assert capsys.readouterr().out == f"jaxseg {__version__}\n"


def test_help_and_a_typing_error_do_without_jax():
    program = (
        "import sys; from jaxseg import __main__ as main\n"
        "main.main(['--help'])\n"
        "try: main.main(['trian'])\n"
        "except Exception as error: print(error)\n"
        "assert not {'jax', 'flax', 'numpy'} & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    assert "no command is called 'trian'; the nearest is 'train'" in done.stdout


def test_an_unknown_command_is_one_line_and_exit_code_2():
    done = subprocess.run(
        [sys.executable, "-m", "jaxseg", "evalaute"], capture_output=True, text=True, cwd=ROOT
    )
    said = "jaxseg: error: no command is called 'evalaute'; the nearest is 'evaluate'\n"
    assert (done.returncode, done.stdout, done.stderr) == (2, "", said)


def test_a_command_gets_what_follows_its_name(capsys):
    main.main(["list", "optimizers"])
    assert capsys.readouterr().out.startswith("SGD: ")
    with pytest.raises(UserError, match="--size must be at least 1"):
        main.main(["models", "--size", "0"])
    with pytest.raises(SystemExit) as stop:
        command.run(main.main, ["config", "absent.py"])
    assert stop.value.code == 2
    assert capsys.readouterr().err.startswith("jaxseg: error: absent.py: no such config file")


@pytest.mark.parametrize(
    "name", ["train", "evaluate", "predict", "export", "compress", "hub", "config", "list"]
)
def test_every_command_has_help(name, capsys):
    with pytest.raises(SystemExit) as stop:
        main.main([name, "--help"])
    assert not stop.value.code and "usage: " in capsys.readouterr().out


def test_a_command_that_is_not_there_is_unknown(monkeypatch, capsys):
    monkeypatch.setitem(main.COMMANDS, "prune", "make a network smaller")
    with pytest.raises(UserError, match="no command is called 'prune'"):
        main.main(["prune"])
    main.main([])
    assert "prune" not in capsys.readouterr().out
