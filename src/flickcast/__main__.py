"""The command `flickcast` from its first moment to its last: Ctrl-C is one sentence, even during imports."""

import atexit
import os
import signal
from types import FrameType
from typing import NoReturn

INTERRUPTED = 130
INTERRUPTION = "Interrupted. Run the same command to continue."


def main() -> None:
    """Run the command line. Imports take most of a second, and an interrupt would pass through other people's code."""
    is_ours = signal.getsignal(signal.SIGINT) is signal.default_int_handler  # not where it is ignored, as behind nohup
    if is_ours:
        signal.signal(signal.SIGINT, _leave)
        atexit.register(signal.signal, signal.SIGINT, signal.SIG_IGN)  # registered first, so it is the last of all
    from flickcast.cli import main as run

    try:
        if is_ours:
            signal.signal(signal.SIGINT, signal.default_int_handler)
        run()
    except KeyboardInterrupt:  # a second one, while the first was being told
        _leave()
    finally:
        if is_ours:
            signal.signal(signal.SIGINT, _leave)


def _leave(number: int = signal.SIGINT, frame: FrameType | None = None) -> NoReturn:
    """Nothing has begun yet, or all is done: end at once, without asking anybody."""
    os.write(2, f"flickcast: {INTERRUPTION}\n".encode())
    os._exit(INTERRUPTED)


if __name__ == "__main__":
    main()
