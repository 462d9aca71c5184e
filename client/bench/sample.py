"""What was observed of one request: times, tokens, and how it ended."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Sample:
    """One finished request. Times are seconds since the run began.

    `due_s` is when the request was to start: in an open loop the scheduled arrival, so that a client or server that
    falls behind is charged for the wait. `arrivals_s` holds the moment of every event that carried text.
    `error` is the kind of failure, None for success; a failed request counts in no latency. `message` is what the
    server, or the system, said about it.
    """

    due_s: float
    end_s: float
    arrivals_s: tuple[float, ...] = field(default=(), repr=False)
    prompt_tokens: int = 0
    cached_tokens: int = 0
    output_tokens: int = 0
    counted_by_server: bool = True
    error: str | None = None
    message: str | None = None

    @property
    def ttft_s(self) -> float | None:
        """Seconds to the first text; None when none came."""
        return self.arrivals_s[0] - self.due_s if self.arrivals_s else None

    @property
    def duration_s(self) -> float:
        return self.end_s - self.due_s

    @property
    def gaps_s(self) -> tuple[float, ...]:
        """Seconds between successive events. One event may carry several tokens (speculation)."""
        return tuple(b - a for a, b in zip(self.arrivals_s, self.arrivals_s[1:], strict=False))

    @property
    def token_time_s(self) -> float | None:
        """Mean seconds per output token after the first; None below two tokens."""
        if self.output_tokens < 2 or not self.arrivals_s:
            return None
        return (self.arrivals_s[-1] - self.arrivals_s[0]) / (self.output_tokens - 1)
