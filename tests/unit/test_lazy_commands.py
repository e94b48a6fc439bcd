"""A command's module is imported when it is called, and not before."""

import inspect
import subprocess
import sys

import pytest
from typer.testing import CliRunner

from conftest import MEDIA
from librehps_cli.main import COMMANDS, app, main

# In one fresh process: after each of several calls, which command modules are in sys.modules.
CALLS = """
import sys
from librehps_cli.main import app
for words in (['--help'], ['-h'], ['--version'], ['scor'], [], ['filter', '--help']):
    try:
        app(words)
    except SystemExit:
        loaded = sorted(name for name in sys.modules if name.startswith('librehps_cli.commands.'))
        print(words, loaded, file=sys.stderr)
"""
# A picture is scored, in a fresh process; then which libraries are in sys.modules.
SCORE = """
import sys
from librehps_cli.main import main
try:
    main()
except SystemExit as end:
    libraries = ('torch', 'transformers', 'torch._dynamo', 'huggingface_hub', 'pyarrow', 'av',
                 'torchao', 'bitsandbytes')
    print(end.code, [name for name in libraries if name in sys.modules], file=sys.stderr)
"""


@pytest.mark.slow
def test_a_score_imports_torch_and_no_other_large_library() -> None:
    picture = ["score", str(MEDIA / "small.png"), "--prompt", "a red square", "--model", "tiny"]
    command = [sys.executable, "-c", SCORE, *picture]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.stderr.splitlines()[-1] == "0 ['torch']"


def test_only_the_called_command_is_imported() -> None:
    done = subprocess.run([sys.executable, "-c", CALLS], capture_output=True, text=True, check=True)
    said = [line for line in done.stderr.splitlines() if line.startswith("[")]
    assert said == [
        "['--help'] []",
        "['-h'] []",
        "['--version'] []",
        "['scor'] []",
        "[] []",
        "['filter', '--help'] ['librehps_cli.commands.filter']",
    ]


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.name)
def test_a_listed_help_is_the_first_line_of_the_command(command) -> None:
    assert command.help == inspect.getdoc(command.load()).split("\n")[0]
    shown = CliRunner().invoke(app, [command.name, "--help"])
    assert shown.exit_code == 0
    assert "--quiet" in shown.stdout


def test_no_arguments_print_the_help(capsys: pytest.CaptureFixture[str], monkeypatch) -> None:
    monkeypatch.setattr(sys, "argv", ["librehps"])
    with pytest.raises(SystemExit) as end:
        main()
    assert end.value.code == 2
    assert "best-of-n  " in capsys.readouterr().out


def test_a_misspelt_command_is_a_usage_error() -> None:
    done = CliRunner().invoke(app, ["scor"])
    assert done.exit_code == 2
    assert "No such command 'scor'" in done.output


def test_a_shell_completes_commands_and_flags() -> None:
    for words, at, expected in (
        ("librehps fil", 1, "filter"),
        ("librehps filter --mi", 2, "--min"),
    ):
        environment = {
            "_LIBREHPS_COMPLETE": "complete_bash", "COMP_WORDS": words, "COMP_CWORD": str(at),
        }  # fmt: skip
        done = CliRunner().invoke(app, [], prog_name="librehps", env=environment)
        assert done.output.split() == [expected]
