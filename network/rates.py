"""Allowances: how often something may happen, in all and by whom, with bounded memory. Time is handed in."""


class Allowance:
    """`rate` per second, and at most `burst` at once."""

    __slots__ = ("_burst", "_left", "_rate", "_refilled")

    def __init__(self, rate: float, burst: float) -> None:
        self._rate = rate
        self._burst = burst
        self._left = burst
        self._refilled = float("-inf")

    def take(self, now: float, amount: float = 1.0) -> bool:
        """Use one up, or `amount` of them; False, and none used, when fewer are left."""
        self._left = min(self._burst, self._left + max(0.0, now - self._refilled) * self._rate)
        self._refilled = now
        if self._left < amount:
            return False
        self._left -= amount
        return True


class Allowances:
    """One allowance each for the hosts seen last; who was pushed out of the table begins anew."""

    __slots__ = ("_burst", "_by_host", "_hosts", "_rate")

    def __init__(self, rate: float, burst: float, hosts: int = 1024) -> None:
        self._rate = rate
        self._burst = burst
        self._hosts = hosts
        self._by_host: dict[str, Allowance] = {}

    def take(self, host: str, now: float) -> bool:
        """Use one of this host's up; False when none is left."""
        held = self._by_host.pop(host, None) or Allowance(self._rate, self._burst)
        self._by_host[host] = held
        if len(self._by_host) > self._hosts:
            del self._by_host[next(iter(self._by_host))]
        return held.take(now)
