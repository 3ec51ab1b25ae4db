"""No process of the child outlives its parent, whatever ended it."""

from __future__ import annotations

import os
import signal
import threading
import time

_LOOK_EVERY_S = 0.25


def follow_parents() -> None:
    """End the process group as soon as the parent of this process, or of one forked from it, is gone.

    A parent ended by SIGKILL cannot say good-bye, and the end of the request pipe is not seen in the middle
    of a run.
    """
    _watch_parent()
    os.register_at_fork(after_in_child=_watch_parent)


def end_group() -> None:
    """SIGTERM to this process and all of its group.

    Python's resource tracker ignores that signal on purpose: it lives on to remove the shared memory, then
    ends.
    """
    os.killpg(os.getpgrp(), signal.SIGTERM)


def _watch_parent() -> None:
    threading.Thread(target=_until_orphaned, args=(os.getppid(),), name="lifeline", daemon=True).start()


def _until_orphaned(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(_LOOK_EVERY_S)
    end_group()
