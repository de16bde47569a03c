"""Tells jumps of the clock from disorder: which time each stream is in, and when all that is held is of another."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass

JUMPED = "jumped"
BEFORE_RESET = "before_reset"
# What was sent before a jump has arrived by then, however busy the machine is.
UNDER_WAY_NS = 10_000_000_000
# A stream has a say in what time it is for so long after its last input: longer than the period of any camera.
LATELY_NS = 2_000_000_000


@dataclass(slots=True)
class _Stream:
    newest_ns: int | None = None  # stamp of its newest input
    arrived_ns: int = 0  # the clock's time of that
    epoch: int = 0
    suspect: tuple[int, int] | None = None  # a stamp that does not go on from the newest, and when it came
    skew_ns: int = 0


class Timeline:
    """Follows the stamps of several streams.

    A stamp that is off by more than `jump_ns` from where its stream was is not believed at once: damage and bad drivers
    make single ones. When the stream's next stamp goes on from it, the clock has jumped (a recording that starts over,
    a clock that was set), and a new epoch begins for all streams. The others join it when their stamps fit it; what
    they still deliver of the old time is told apart. A stream that comes back to where the others are was wrong alone.

    Args:
        streams: names.
        jump_ns: the most that the stamps of a stream may go back, or run ahead of the clock.
        clock: steady time in nanoseconds.
        stamps: the time that stamps should tell, in nanoseconds, where there is a clock for it: it has a say where
            streams are of different clocks.

    Attributes:
        epoch: how often time has jumped.
    """

    def __init__(
        self,
        streams: tuple[str, ...],
        jump_ns: int,
        clock: Callable[[], int],
        stamps: Callable[[], int] | None = None,
    ):
        self.jump_ns = jump_ns
        self.epoch = 0
        self._clock, self._stamps = clock, stamps
        self._streams = {name: _Stream() for name in streams}
        self._jumped_at_ns = 0
        self._before_jump_ns = 0  # the newest stamp of the epoch before

    def add(self, name: str) -> None:
        """Begin to follow a stream."""
        self._streams[name] = _Stream(epoch=self.epoch)

    def remove(self, name: str) -> None:
        """Forget a stream."""
        del self._streams[name]

    def admit(self, name: str, start_ns: int, end_ns: int) -> str | None:
        """Take note of an input of a stream that covers a time.

        Returns:
            None for an input to be taken in, which begins a new epoch where `epoch` has changed; else the reason to
            drop it.
        """
        now = self._clock()
        stream = self._streams[name]
        if stream.epoch < self.epoch and (reason := self._join(stream, start_ns, now)):
            if reason == BEFORE_RESET:
                stream.newest_ns, stream.arrived_ns = end_ns, now
            return reason
        if stream.newest_ns is not None and self._jumps(stream.newest_ns, stream.arrived_ns, start_ns, now):
            believed = stream.suspect is not None and not self._jumps(*stream.suspect, start_ns, now)
            if not believed:
                stream.suspect = (end_ns, now)
                return JUMPED
            if not self._returns(name, start_ns):
                self._jumped_at_ns, self._before_jump_ns = now, max(self.newest().values())
                self.epoch += 1
                stream.epoch = self.epoch
            stream.newest_ns = end_ns
        stream.suspect = None
        stream.newest_ns = end_ns if stream.newest_ns is None else max(stream.newest_ns, end_ns)
        stream.arrived_ns = now
        stream.skew_ns = end_ns - max(self._others(name).values(), default=end_ns)
        return None

    def newest(self) -> dict[str, int]:
        """The newest stamp of each stream that has reached the present epoch."""
        return {
            name: stream.newest_ns
            for name, stream in self._streams.items()
            if stream.newest_ns is not None and stream.epoch == self.epoch
        }

    def go_back(self, names: Collection[str]) -> None:
        """Begin a new epoch, that of these streams: what was the time before was another's, whose clock is ahead."""
        self._jumped_at_ns, self._before_jump_ns = self._clock(), max(self.newest().values())
        self.epoch += 1
        for name in names:
            self._streams[name].epoch = self.epoch

    def agreed(self, within_ns: int) -> dict[str, int]:
        """The newest stamps of those streams that most others go along with; of the later ones where it is a tie.

        A sensor whose clock is ahead would otherwise be the newest of all for good, and all others late. What is
        compared is how far stamps are ahead of the clock when they come, of streams that have come lately.

        Args:
            within_ns: how far apart the stamps of streams may be that go along with one another.
        """
        return self._agreed(self.newest(), within_ns)

    def _agreed(self, newest: dict[str, int], within_ns: int) -> dict[str, int]:
        if not newest:
            return newest
        now = self._clock()
        arrived = {name: self._streams[name].arrived_ns for name in newest}
        leads = {name: stamp - arrived[name] for name, stamp in newest.items()}
        # How far ahead one was that has long been silent says little: a recording may be played faster than it was.
        lately = [leads[name] for name in newest if now - arrived[name] <= LATELY_NS] or list(leads.values())
        says = [*lately, *([] if self._stamps is None else [self._stamps() - now])]
        best = max(lately, key=lambda lead: (sum(abs(lead - other) <= within_ns for other in says), lead))
        return {name: stamp for name, stamp in newest.items() if abs(leads[name] - best) <= within_ns}

    def _others(self, name: str) -> dict[str, int]:
        """The newest stamps of the others, as far as they agree."""
        return self._agreed({n: stamp for n, stamp in self.newest().items() if n != name}, self.jump_ns)

    def _returns(self, name: str, stamp_ns: int) -> bool:
        """Whether a stream that jumps is where the others are: then it was off alone, and no time has jumped."""
        if self._streams[name].epoch != self.epoch:
            return False
        there = max(self._others(name).values(), default=None)
        return there is not None and abs(stamp_ns - there) <= self.jump_ns

    def skew_ns(self, name: str) -> int:
        """How far the newest stamp of a stream was ahead of the newest of the others, as most have it, when it came."""
        return self._streams[name].skew_ns

    def _jumps(self, before_ns: int, arrived_ns: int, stamp_ns: int, now_ns: int) -> bool:
        """Whether a stamp goes back, or further ahead than the time since the one before it allows."""
        step = stamp_ns - before_ns
        return step < -self.jump_ns or step > self.jump_ns + max(now_ns - arrived_ns, 0)

    def _join(self, stream: _Stream, stamp_ns: int, now_ns: int) -> str | None:
        """Let a stream into the present epoch, or say why its input is not of it."""
        present = max(self.newest().values(), default=stamp_ns)
        fits = abs(stamp_ns - present) <= self.jump_ns
        goes_on = stream.newest_ns is not None and not self._jumps(
            stream.newest_ns, stream.arrived_ns, stamp_ns, now_ns
        )
        # Under way since before the jump, if its clock has jumped too: by the stamps, not by how long they were under
        # way. Stamps of a clock that has not jumped soon go beyond.
        sent_before = stamp_ns <= self._before_jump_ns + self.jump_ns
        if not fits and goes_on and sent_before and now_ns - self._jumped_at_ns <= UNDER_WAY_NS:
            return BEFORE_RESET
        stream.epoch = self.epoch
        if not goes_on:
            stream.newest_ns = None  # where it was before says nothing about where it goes on
        stream.suspect = None
        return None
