"""Other weights for a node that goes on with the present ones until they are ready."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from spike_depth_ros.pipeline import Estimator
from spike_depth_ros.reporter import cause


@dataclass(frozen=True)
class Loaded:
    """What came of loading.

    Attributes:
        checkpoint: as asked for.
        estimator: ready to be used, or None.
        failure: why there is none.
    """

    checkpoint: str
    estimator: Estimator | None
    failure: str = ""


class CheckpointSwap:
    """Loads estimators on a thread of low priority; the last one asked for wins.

    Args:
        load: makes an estimator of the parameters' values, ready to be used.
        notify: called on that thread when there is something to `take`.
    """

    def __init__(self, load: Callable[[Mapping[str, Any]], Estimator], notify: Callable[[], None]):
        self._load, self._notify = load, notify
        self._lock = threading.Lock()
        self._wanted: Mapping[str, Any] | None = None
        self._loaded: Loaded | None = None
        self._thread: threading.Thread | None = None

    @property
    def loading(self) -> str | None:
        """The checkpoint that is on its way."""
        wanted, loaded = self._wanted, self._loaded
        if wanted is not None:
            return str(wanted["checkpoint"])
        return None if loaded is None else loaded.checkpoint

    def begin(self, values: Mapping[str, Any]) -> None:
        """Load what the parameters' values name. What was asked for before is forgotten."""
        with self._lock:
            self._wanted, self._loaded = values, None
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name="load checkpoint", daemon=True)
                self._thread.start()

    def cancel(self) -> None:
        """Forget what was asked for."""
        with self._lock:
            self._wanted = self._loaded = None

    def take(self) -> Loaded | None:
        """What has been loaded, once."""
        with self._lock:
            loaded, self._loaded = self._loaded, None
            return loaded

    def close(self) -> None:
        """End for good, after a load that is under way."""
        self.cancel()
        thread = self._thread
        if thread is not None:
            thread.join()

    def _work(self) -> None:
        # Depth goes first: on Linux a thread has a priority of its own. But what ONNX Runtime starts here to compute
        # with, where it is to have several threads, would have that of this thread for good.
        if self._wanted is not None and self._wanted["threads"] == 1:
            with contextlib.suppress(OSError):
                os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), 10)
        while True:
            with self._lock:
                values = self._wanted
                if values is None:
                    self._thread = None
                    return
            checkpoint = str(values["checkpoint"])
            try:
                loaded = Loaded(checkpoint, self._load(values))
            except Exception as error:  # whatever it is: the node goes on with what it has
                loaded = Loaded(checkpoint, None, cause(error))
            with self._lock:
                if self._wanted is not values:
                    continue
                self._wanted, self._loaded = None, loaded
            self._notify()
