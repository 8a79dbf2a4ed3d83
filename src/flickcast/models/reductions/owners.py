"""Whose row it is, as a number: to tell one's own posts from others', never a column for a learner."""

import hashlib

import numpy as np
import polars as pl
from numpy.typing import NDArray

Salt = NDArray[np.uint8]
SALT_BYTES = 16  # what blake2b takes


NO_SALT: Salt = np.empty(0, np.uint8)  # where nothing stands for users


def salt_of(user_ids: pl.Series, seed: int) -> Salt:
    """16 bytes from the seed and who is learnt from: other bytes in another model, whatever the order of the rows."""
    names = "\n".join(user_ids.unique().sort())
    return np.frombuffer(hashlib.blake2b(f"{seed}\n{names}".encode(), digest_size=SALT_BYTES).digest(), np.uint8)


def owners(user_ids: pl.Series, salt: Salt) -> NDArray[np.int64]:
    """A number per row, the same for the same user and salt; 64 bits, so that two users never share one.

    The salt keeps the rows of one model from being laid beside those of another, or beside a list of all users made
    once for every model. Who has a model can still ask of one user whether they are in it.
    """
    distinct = user_ids.unique()
    numbers = [
        int.from_bytes(hashlib.blake2b(name.encode(), digest_size=8, salt=salt.tobytes()).digest(), "big", signed=True)
        for name in distinct
    ]
    table = pl.DataFrame({"user": distinct, "number": pl.Series(numbers, dtype=pl.Int64)})
    found = user_ids.to_frame("user").join(table, on="user", how="left", maintain_order="left")["number"]
    return found.to_numpy()


def microseconds(moments: pl.Series) -> NDArray[np.int64]:
    """Since 1970."""
    return moments.dt.epoch("us").to_numpy()
