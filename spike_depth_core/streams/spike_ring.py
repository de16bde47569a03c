"""The most recent spike planes of a stream of packets, to be asked for by time."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

import numpy as np

from spike_depth_core.spikes import PackedSpikes
from spike_depth_core.streams.ledger import Ledger

# Drop reasons.
EMPTY = "empty"
LATE = "late"
UNUSED = "unused"
RESET = "reset"


@dataclass(slots=True)
class _Packet:
    spikes: PackedSpikes
    seq: int
    follows: bool  # its first plane comes right after the last plane of the packet before
    used: bool = False


class SpikeRing:
    """Keeps packets as they came, without copying them, and joins planes only when asked.

    At 20,000 planes/s a stream brings 250 MB/s, of which a depth estimate ten times a second looks at a tenth. So
    receiving costs nothing here, and a window costs one copy of its own planes.

    Args:
        capacity: planes that can be asked for; older packets are let go.
        jitter_ns: how far a packet's stamp may be from where the packet before ends and still count as its
            continuation. Stamps of real cameras wobble by the host's scheduling; `seq` tells of true gaps.
        ledger: where packets are counted.
    """

    def __init__(self, capacity: int, jitter_ns: int = 5_000_000, ledger: Ledger | None = None):
        if capacity < 1:
            raise ValueError(f"a ring holds at least one plane, found a capacity of {capacity}")
        self.capacity = capacity
        self.jitter_ns = jitter_ns
        self.ledger = ledger if ledger is not None else Ledger()
        self._packets: deque[_Packet] = deque()
        self._last_seq: int | None = None
        self._planes = 0

    def __len__(self) -> int:
        """Planes held."""
        return self._planes

    @property
    def end_ns(self) -> int | None:
        """Time of the end of the newest plane held, or None."""
        return self._packets[-1].spikes.end_ns if self._packets else None

    @property
    def start_ns(self) -> int | None:
        """Time of the start of the oldest plane held, or None."""
        return self._packets[0].spikes.start_ns if self._packets else None

    def add(self, spikes: PackedSpikes, seq: int) -> bool:
        """Take in the next packet. False when it is dropped: without planes, or older than the newest held.

        A jump of `seq` is counted as that many lost packets, and breaks the stream: no window reaches across it.
        """
        self.ledger.received += 1
        if len(spikes) == 0:
            self.ledger.dropped[EMPTY] += 1
            return False
        follows = False
        if self._packets and self._last_seq is not None:
            newest = self._packets[-1].spikes
            step = seq - self._last_seq
            if step <= 0 and spikes.start_ns < newest.end_ns:
                self.ledger.dropped[LATE] += 1  # a repeated or overtaken packet
                return False
            # A step back in seq at a later time is a publisher that started anew: what was lost then is unknown.
            self.ledger.lost += max(step - 1, 0)
            follows = (
                seq == self._packets[-1].seq + 1
                and spikes.data.shape[1:] == newest.data.shape[1:]
                and spikes.width == newest.width
                and spikes.period_ns == newest.period_ns
                and abs(spikes.start_ns - newest.end_ns) <= self.jitter_ns
            )
            self.ledger.breaks += not follows
        self._last_seq = seq
        self._packets.append(_Packet(spikes, seq, follows))
        self._planes += len(spikes)
        while self._planes - len(self._packets[0].spikes) >= self.capacity:
            self._let_go(UNUSED)
        return True

    def skip(self, seq: int) -> None:
        """Note a packet that arrived, but was not fit to be taken in: it is missing, but it is not lost."""
        if self._last_seq is not None and seq == self._last_seq + 1:  # any other number may be damage itself
            self._last_seq = seq

    def interrupt(self) -> None:
        """Nobody listens for a while: what is missing before the next packet is not lost."""
        self._last_seq = None

    def window(self, count: int, end_ns: int | None = None, tolerance_ns: int | None = None) -> PackedSpikes | None:
        """The newest unbroken run of `count` planes that ends at or before a time, joined in a new array.

        Args:
            count: planes, at least 1.
            end_ns: the time; the end of the newest plane when None.
            tolerance_ns: the most that the window may end before `end_ns`; any when None. After a loss that is how
                far back the planes may be from before it.

        Returns:
            The planes, or None when there are not that many in one unbroken run.
        """
        if end_ns is None:
            end_ns = self.end_ns
        if end_ns is None:
            return None
        run: list[tuple[_Packet, int]] = []  # newest first, each with how many of its planes are before the time
        for packet in reversed(self._packets):
            spikes = packet.spikes
            ending = len(spikes) if run else min(len(spikes), (end_ns - spikes.start_ns) // spikes.period_ns)
            if ending <= 0:
                continue
            early_ns = end_ns - (spikes.start_ns + ending * spikes.period_ns)
            if not run and tolerance_ns is not None and early_ns > tolerance_ns:
                return None
            run.append((packet, ending))
            if sum(planes for _, planes in run) >= count:
                return self._join(run, count)
            if not packet.follows:
                run = []
        return None

    def _join(self, run: list[tuple[_Packet, int]], count: int) -> PackedSpikes:
        """The last `count` planes of a run of packets, newest first; they are used now."""
        newest, ending = run[0]
        end_ns = newest.spikes.start_ns + ending * newest.spikes.period_ns
        parts, missing = [], count
        for packet, planes in run:
            taken = min(missing, planes)
            parts.append(packet.spikes.data[planes - taken : planes])
            missing -= taken
            if not packet.used:
                packet.used = True
                self.ledger.used += 1
        period_ns = newest.spikes.period_ns
        return PackedSpikes(np.concatenate(parts[::-1]), newest.spikes.width, period_ns, end_ns - count * period_ns)

    def clear(self, reason: str = RESET) -> None:
        """Let go of everything."""
        while self._packets:
            self._let_go(reason)

    def _let_go(self, reason: str) -> None:
        packet = self._packets.popleft()
        self._planes -= len(packet.spikes)
        if not packet.used:
            self.ledger.dropped[reason] += 1
