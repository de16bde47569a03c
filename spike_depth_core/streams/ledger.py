"""What became of every input of one stream."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any


@dataclass
class Ledger:
    """Inputs received are used, dropped for a named reason, or still pending; nothing else can become of them.

    Attributes:
        received: inputs that arrived, good or bad.
        used: inputs that went into at least one moment handed out.
        dropped: inputs that went into none and no longer can, by reason.
        lost: inputs that never arrived, as gaps in the sequence numbers tell. Not among the received.
        breaks: inputs that did not go on where the one before ended, where they are joined.
        resets: jumps of time that the stream was the first to make.
    """

    received: int = 0
    used: int = 0
    dropped: Counter[str] = field(default_factory=Counter)
    lost: int = 0
    breaks: int = 0
    resets: int = 0

    @property
    def pending(self) -> int:
        """Inputs held that may still be used."""
        return self.received - self.used - self.dropped.total()

    def to_dict(self) -> dict[str, Any]:
        """The counts as plain values."""
        return {
            "received": self.received,
            "used": self.used,
            "dropped": dict(self.dropped),
            "pending": self.pending,
            "lost": self.lost,
            "breaks": self.breaks,
            "resets": self.resets,
        }
