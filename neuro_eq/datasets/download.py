"""One file from the network: checked by its sha256, kept in a cache folder, whole or not at all."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from neuro_eq.errors import DataError

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

CONNECT_SECONDS = 5
STALL_SECONDS = 15
CHUNK_BYTES = 1 << 16


def fetch(name: str, url: str, sha256: str, variable: str) -> Path:
    """A file of the data set ``name``, from the cache folder or from ``url``.

    Args:
        name: the data set, and the folder inside the cache.
        url: the file, under its canonical name.
        sha256: what its bytes must hash to, in the cache too.
        variable: the environment variable that names a folder of the user's own, for the message.

    Raises:
        DataError: the file is not there and cannot be fetched.
    """
    import pooch
    import requests

    file = url.rsplit("/", 1)[-1]
    host = urlsplit(url).hostname
    try:
        with _progress(f"{name}: {file}") as bar:
            downloader = pooch.HTTPDownloader(
                progressbar=bar or False, chunk_size=CHUNK_BYTES, timeout=(CONNECT_SECONDS, STALL_SECONDS)
            )
            # pooch writes to a file of another name and moves it when the hash is right.
            folder = Path(pooch.os_cache("neuro_eq")) / name
            return Path(pooch.retrieve(url, f"sha256:{sha256}", file, folder, downloader=downloader))
    except requests.exceptions.Timeout:
        reason = f"{host} does not answer"
    except requests.exceptions.HTTPError as error:
        code = "an error" if error.response is None else error.response.status_code
        reason = f"{host} answers {code}"
    except requests.exceptions.ChunkedEncodingError:
        reason = f"the connection to {host} broke"
    except requests.exceptions.RequestException:
        reason = f"no connection to {host}"
    except ValueError:
        reason = f"what {host} sent has the wrong sha256"
    except OSError as error:
        reason = f"cannot write {error.filename}: {error.strerror}" if error.filename else str(error)
    raise DataError(
        f"{name}: cannot fetch {file} ({reason}); put it into FOLDER/{name}/ and set {variable}=FOLDER"
    ) from None


@contextlib.contextmanager
def _progress(label: str) -> Iterator[_Bar | None]:
    """A progress bar on a terminal, and pooch's own announcements off."""
    import pooch
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn

    logger = pooch.get_logger()
    level = logger.level
    logger.setLevel(logging.WARNING)
    console = Console(stderr=True)
    try:
        if not console.is_terminal:
            yield None
            return
        columns = TextColumn("{task.description}"), BarColumn(), DownloadColumn()
        with Progress(*columns, console=console, transient=True) as progress:
            yield _Bar(progress, label)
    finally:
        logger.setLevel(level)


class _Bar:
    """The methods that pooch calls on a progress bar, drawn by rich."""

    def __init__(self, progress: Progress, label: str) -> None:
        self.total = 0
        self._progress = progress
        self._label = label
        self._task: TaskID | None = None

    def update(self, count: int) -> None:
        # Made at the first bytes: a file that lies in the cache already shows no bar.
        if self._task is None:
            self._task = self._progress.add_task(self._label)
        self._progress.update(self._task, total=self.total, advance=count)

    def reset(self) -> None:
        if self._task is not None:
            self._progress.reset(self._task)

    def close(self) -> None:
        """Nothing to do: the bar goes when its block ends."""
