"""Tells jumps of the clock from disorder: which time each stream is in, and when all that is held is of another."""

from __future__ import annotations

from collections.abc import Callable, Collection, Set
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
    before_ns: int | None = None  # its newest stamp before it jumped, while most others have not
    skew_ns: int = 0


class Timeline:
    """Follows the stamps of several streams.

    A stamp that is off by more than `jump_ns` from where its stream was is not believed at once: damage and bad drivers
    make single ones. When the stream's next stamp goes on from it, or another stream has jumped there before, the
    stream's clock has jumped. Where most of the others say that it is another time, that is believed of this stream
    alone. Else time has jumped (a recording that starts over, a clock that was set), and a new epoch begins for all
    streams. The others join it when their stamps fit it; what they still deliver of the old time is told apart.

    Args:
        streams: names.
        jump_ns: the most that the stamps of a stream may go back, or run ahead of the clock.
        clock: steady time in nanoseconds.
        stamps: the time that stamps should tell, in nanoseconds, where there is a clock for it: it has a say where
            as many streams are of one clock as of another.

    Attributes:
        epoch: how often time has jumped.
        moved: the streams of which all that came before the last input is of another time than it.
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
        self.moved: Set[str] = set()
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
        self.moved = set()
        if stream.epoch < self.epoch and (reason := self._join(stream, start_ns, now)):
            if reason == BEFORE_RESET:
                stream.newest_ns, stream.arrived_ns = end_ns, now
            return reason
        if stream.newest_ns is not None and self._jumps(stream.newest_ns, stream.arrived_ns, start_ns, now):
            goes_on = stream.suspect is not None and not self._jumps(*stream.suspect, start_ns, now)
            there = self._jumped_to(start_ns, now)
            if not goes_on and not there:
                stream.suspect = (end_ns, now)
                return JUMPED
            self._jump(name, start_ns, there, now)
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

    def begin(self, names: Collection[str]) -> None:
        """Begin a new epoch, that of these streams: the time before was another's."""
        self._jumped_at_ns = self._clock()
        self._before_jump_ns = max(self._streams[name].before_ns or stamp for name, stamp in self.newest().items())
        self.epoch += 1
        for name in names:
            self._streams[name].epoch, self._streams[name].before_ns = self.epoch, None

    def agreed(self, within_ns: int) -> dict[str, int]:
        """The newest stamps of those streams that most others go along with; where it is a tie of those that the clock
        for stamps goes along with, or of the later ones.

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
        leads = {name: self._lead(name) for name in newest}
        # How far ahead one was that has long been silent says little: a recording may be played faster than it was.
        lately = [leads[name] for name in newest if self._came_lately(name, now)] or list(leads.values())
        told = self._told(now)
        best = max(lately, key=lambda lead: (*_votes(lead, lately, told, within_ns), lead))
        return {name: stamp for name, stamp in newest.items() if abs(leads[name] - best) <= within_ns}

    def _lead(self, name: str) -> int:
        """How far a stream's newest stamp was ahead of the clock when it came."""
        stream = self._streams[name]
        return (stream.newest_ns or 0) - stream.arrived_ns

    def _came_lately(self, name: str, now_ns: int) -> bool:
        return now_ns - self._streams[name].arrived_ns <= LATELY_NS

    def _told(self, now_ns: int) -> int | None:
        """How far the time that stamps should tell is ahead of the clock, where it is known."""
        return None if self._stamps is None else self._stamps() - now_ns

    def _others(self, name: str) -> dict[str, int]:
        """The newest stamps of the others, as far as they agree."""
        return self._agreed({n: stamp for n, stamp in self.newest().items() if n != name}, self.jump_ns)

    def _jumped_to(self, stamp_ns: int, now_ns: int) -> set[str]:
        """The streams that have jumped to where a stamp is, and were not followed so far."""
        return {
            name
            for name in self.newest()
            if self._streams[name].before_ns is not None
            and self._came_lately(name, now_ns)
            and abs(stamp_ns - now_ns - self._lead(name)) <= self.jump_ns
        }

    def _jump(self, name: str, stamp_ns: int, there: Set[str], now_ns: int) -> None:
        """Believe that a stream has jumped to a stamp, where others are that have jumped before."""
        stream = self._streams[name]
        self.moved = {name}
        if self._returns(name, stamp_ns):
            stream.before_ns = None
            return
        if stream.before_ns is None:
            stream.before_ns = stream.newest_ns
        if not self._is_alone(name, stamp_ns, now_ns):
            self.begin({name, *there})
            self.moved = self._streams.keys() - there

    def _returns(self, name: str, stamp_ns: int) -> bool:
        """Whether a stream that jumps is where the others are that have not: then it was off alone."""
        others = {n: stamp for n, stamp in self.newest().items() if n != name and self._streams[n].before_ns is None}
        there = max(self._agreed(others, self.jump_ns).values(), default=None)
        return there is not None and abs(stamp_ns - there) <= self.jump_ns

    def _is_alone(self, name: str, stamp_ns: int, now_ns: int) -> bool:
        """Whether more of the others that have come lately say that it is another time than go along with a stream that
        jumps; the clock for stamps where it is a tie, and where that does not know either time has jumped."""
        lead, told = stamp_ns - now_ns, self._told(now_ns)
        others = [self._lead(n) for n in self.newest() if n != name and self._came_lately(n, now_ns)]
        elsewhere = [other for other in others if abs(other - lead) > self.jump_ns]
        votes = _votes(lead, [lead, *others], told, self.jump_ns)
        return any(_votes(other, elsewhere, told, self.jump_ns) > votes for other in elsewhere)

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
        stream.epoch, stream.before_ns = self.epoch, None
        if not goes_on:
            stream.newest_ns = None  # where it was before says nothing about where it goes on
        stream.suspect = None
        return None


def _votes(lead: int, leads: list[int], told: int | None, within_ns: int) -> tuple[int, bool]:
    """How many streams go along with one that is so far ahead of the clock; and whether the clock for stamps does."""
    return sum(abs(lead - other) <= within_ns for other in leads), told is not None and abs(lead - told) <= within_ns
