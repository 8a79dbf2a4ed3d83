"""What goes wrong with the service: which requests are hit, and by which kind of fault."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

from flickcast.errors import UserError
from flickcast.simulate.pages import BENT
from flickcast.simulate.spoiling import WAYS
from flickcast.simulate.wrong_answers import INSTEAD, INSTEAD_OF_DATA, PICTURES, SPOILT

RESETS = ("reset-at-once", "reset-before-body", "reset-mid-body")
API_KINDS: tuple[str, ...] = (*INSTEAD, *INSTEAD_OF_DATA, *WAYS, "slow-drip", *SPOILT, "clock-skew")
SEARCH_KINDS: tuple[str, ...] = tuple(BENT)
PICTURE_KINDS: tuple[str, ...] = (*(kind for kind in INSTEAD if kind != "429-date"), *RESETS, *PICTURES)
ALL_KINDS: tuple[str, ...] = tuple(dict.fromkeys((*API_KINDS, *SEARCH_KINDS, *PICTURE_KINDS)))
DRIP_SECONDS = 0.2


@dataclass(frozen=True)
class Faults:
    """How many requests of a thousand are hit, and by what. UserError for a rate or a kind that is none."""

    per_thousand: float = 0.0
    seed: int = 0
    kinds: Sequence[str] = ALL_KINDS
    drip_seconds: float = DRIP_SECONDS

    def __post_init__(self) -> None:
        if not 0.0 <= self.per_thousand <= 1000.0:
            raise UserError(f"no fault rate of {self.per_thousand} per 1,000 requests; choose from 0 to 1,000.")
        if unknown := [kind for kind in self.kinds if kind not in ALL_KINDS]:
            raise UserError(f"no kind of fault is called '{unknown[0]}'; there are {', '.join(ALL_KINDS)}.")


@dataclass(frozen=True)
class Fault:
    """One request's fault, and the chance that decides its details."""

    kind: str
    random: Random


class Dice:
    """Draws faults. A draw depends on the seed, on what is asked and on how often just that was asked before.

    So the same questions meet the same faults, in whichever order threads come to ask them.
    """

    def __init__(self, faults: Faults) -> None:
        self.faults = faults
        self._asked: Counter[str] = Counter()

    def draw(self, asked: str, fitting: Sequence[str]) -> Fault | None:
        """The fault of a request, if it has one; `fitting` are the kinds that make sense for it."""
        if not self.faults.per_thousand:
            return None
        random = Random(f"{self.faults.seed} {self._asked[asked]} {asked}")
        self._asked[asked] += 1
        kinds = [kind for kind in self.faults.kinds if kind in fitting]
        if not kinds or random.random() * 1000.0 >= self.faults.per_thousand:
            return None
        return Fault(random.choice(kinds), random)
