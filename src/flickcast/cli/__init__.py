"""The command line: `flickcast`. Results go to stdout, everything else to stderr; mistakes are one sentence."""

import sys
import traceback
from typing import NoReturn

import typer
from typer._click.exceptions import ClickException, UsageError

from flickcast.__main__ import INTERRUPTED, INTERRUPTION
from flickcast.cli import comparing, data, explaining, forgetting, quarantine, stages, system
from flickcast.console import say
from flickcast.errors import FlickcastError, of_system

app = typer.Typer(
    name="flickcast",
    help="Which new posts will become popular, learnt again every night.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,  # its tracebacks can print local values, a key among them
    add_completion=True,
)
for part in (system, data, forgetting, quarantine, stages, explaining, comparing):
    part.register(app)


NOBODY_READS = 141  # as if SIGPIPE had ended it: what other commands do before `| head`


def main() -> None:
    """Run a command and turn every way it can stop into a sentence and an exit code (design §5, promise 8)."""
    debug = "--debug" in sys.argv
    arguments = [argument for argument in sys.argv[1:] if argument != "--debug"]
    try:
        code = app(arguments, prog_name="flickcast", standalone_mode=False)
        if code == INTERRUPTED:  # what Typer makes of Ctrl-C
            raise KeyboardInterrupt
        sys.exit(code if isinstance(code, int) else 0)
    except FlickcastError as error:
        _stop(str(error), error.exit_code, debug)
    except ClickException as error:
        if not (message := error.format_message()):  # no command was given: the help has been shown
            sys.exit(2)
        command = error.ctx.command_path if isinstance(error, UsageError) and error.ctx else "flickcast"
        _stop(f"{message}{'' if message[-1] in '.?!' else '.'} Try `{command} --help`.", 2, debug)
    except (KeyboardInterrupt, typer.Abort):
        _stop(INTERRUPTION, INTERRUPTED, debug)
    except SystemExit as error:
        cause = error.__context__  # Typer and rich leave with 1 where nobody reads what they print
        if isinstance(cause, BrokenPipeError) and cause.filename is None:  # it has one where a stage's work broke off
            sys.exit(NOBODY_READS)
        if isinstance(cause, BrokenPipeError):
            _stop(str(of_system(cause)), 1, debug)
        raise
    except BaseException as error:  # a panic in a native library is no Exception
        if isinstance(error, OSError) and error.strerror:
            _stop(str(of_system(error)), of_system(error).exit_code, debug)
        _stop(f"Unexpected {type(error).__name__}: {error}. Run again with --debug for the details.", 1, debug)


def _stop(sentence: str, exit_code: int, debug: bool) -> NoReturn:
    try:
        if debug:
            say(traceback.format_exc())
        say(f"flickcast: {sentence}")
    finally:  # whether anybody reads it or not
        sys.exit(exit_code)
