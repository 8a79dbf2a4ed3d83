"""How dense uploads lie, by hour of the day: learned from past nights, corrected by every window that is read."""

from collections.abc import Sequence

from flickcast.sources.flickr_stretches import HOUR, Stretch

LARGEST_STEP = 4.0  # one window may be odd, or its total a lie
HOURS = 24


class Density:
    """Posts per second of each hour of the day (UTC), and by how much tonight differs from them."""

    def __init__(self, hourly: Sequence[float] | None = None) -> None:
        self._hourly = list(hourly) if hourly else None
        self._scale = 1.0

    def width(self, start: int, posts: float, longest: int) -> int:
        """How many seconds from `start` on should hold so many posts; at most `longest`."""
        if self._hourly is None:
            return longest
        second = start
        while second < start + longest:
            rate = self._rate(second)
            end = (second // HOUR + 1) * HOUR
            if rate * (end - second) >= posts:
                return min(int(second + posts / rate) - start, longest)
            posts -= rate * (end - second)
            second = end
        return longest

    def learn(self, window: Stretch, posts: int) -> None:
        """Take in how many posts a window had."""
        if self._hourly is None:
            self._hourly = [(posts + 1) / window.seconds] * HOURS
            return
        ratio = (posts + 1) / (self._expected(window) + 1)
        self._scale *= min(max(ratio, 1 / LARGEST_STEP), LARGEST_STEP)

    def _expected(self, window: Stretch) -> float:
        total, second = 0.0, window.start
        while second < window.end:
            end = min((second // HOUR + 1) * HOUR, window.end)
            total += self._rate(second) * (end - second)
            second = end
        return total

    def _rate(self, second: int) -> float:
        assert self._hourly is not None
        return self._hourly[second // HOUR % HOURS] * self._scale
