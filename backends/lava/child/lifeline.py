"""No process of the child outlives its parent, whatever ended it."""

from __future__ import annotations

import os
import shutil
import signal
import threading
import time

_LOOK_EVERY_S = 0.25


def follow_parents(folder: str) -> None:
    """End the process group as soon as the parent of this process, or of one forked from it, is gone.

    A parent ended by SIGKILL cannot say good-bye, and the end of the request pipe is not seen in the middle
    of a run.

    Args:
        folder: made by the parent for the temporary files of this group alone; it is removed as well.
    """

    def watch() -> None:
        threading.Thread(target=_until_orphaned, args=(os.getppid(), folder), name="lifeline", daemon=True).start()

    watch()
    os.register_at_fork(after_in_child=watch)


def end_group() -> None:
    """SIGTERM to this process and all of its group.

    Python's resource tracker ignores that signal on purpose: it lives on to remove the shared memory, then
    ends.
    """
    os.killpg(os.getpgrp(), signal.SIGTERM)


def _until_orphaned(parent: int, folder: str) -> None:
    while os.getppid() == parent:
        time.sleep(_LOOK_EVERY_S)
    shutil.rmtree(folder, ignore_errors=True)
    end_group()
