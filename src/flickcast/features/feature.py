"""What a column of the model matrix means."""

from typing import Literal, NamedTuple

# Where the idea of a column is from; "" is ours.
DING = "Ding 2019, 4.1"
HVLA = "HVLA 2024, 3.2"
HYPERFUSION = "HyperFusion 2025, 3.3"
PPCL = "PPCL 2024, Table A1"
FAME = "FAME 2025, 3.1"


class Feature(NamedTuple):
    """Meaning, unit and source of a column; a category's values are classes, a number's are float32."""

    meaning: str
    unit: str = ""
    source: str = ""
    kind: Literal["number", "category"] = "number"
