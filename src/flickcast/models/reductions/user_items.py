"""Reductions `user_tags` and `user_places`: what a user's posts so far were about, by the SVD of a user-item matrix."""

from abc import abstractmethod
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal, Self

import numpy as np
import polars as pl
from numpy.typing import NDArray
from pydantic import Field

from flickcast.models.reductions.latent import components, counts_of, inverse_frequency, recurring, weighted
from flickcast.models.reductions.owners import Salt, microseconds, owners, salt_of
from flickcast.models.reductions.protocol import Arrays, Json, Matrix, Training, numbered
from flickcast.params import Section

ALWAYS = np.iinfo(np.int64).min
BLOCK = 64  # components at once: what is held in memory is (events, BLOCK)
SHORTEST = 1e-6


class UserItemSettings(Section):
    """What both kinds have in a recipe's `reductions`."""

    dimensions: int = Field(ge=1)
    min_users: int = Field(3, ge=2, description="items of fewer users are left out")
    max_items: int = Field(20_000, ge=1)
    own: bool = Field(False, description="also the vector of the row's own items (of a place: its location vector)")

    @abstractmethod
    def items(self, rows: pl.DataFrame) -> pl.Series:
        """The items of each row, a list of texts; null where there is none."""


class UserTagSettings(UserItemSettings):
    """User vectors of tags."""

    kind: Literal["user_tags"]

    def items(self, rows: pl.DataFrame) -> pl.Series:
        """The tags in small letters, each once."""
        return rows["tags"].list.eval(pl.element().str.to_lowercase()).list.unique()


class UserPlaceSettings(UserItemSettings):
    """User vectors of places, and location vectors."""

    kind: Literal["user_places"]
    cell_degrees: float = Field(1.0, gt=0, description="width of a place in degrees of latitude and longitude")
    own: bool = True

    def items(self, rows: pl.DataFrame) -> pl.Series:
        """The cell that the post is in."""
        cells = (
            pl.col(name).truediv(self.cell_degrees).floor().cast(pl.Int32, strict=False)
            for name in ("latitude", "longitude")
        )
        return rows.select(pl.concat_list(pl.concat_str(*cells, separator=" ")).list.drop_nulls()).to_series()


SETTINGS: dict[str, type[UserTagSettings] | type[UserPlaceSettings]] = {
    "user_tags": UserTagSettings,
    "user_places": UserPlaceSettings,
}


@dataclass(frozen=True)
class UserItems:
    """HyperFusion 2025, section 3.3: the matrix of users and items is U S V'; a user's vector is its row times V.

    There a user has one vector, made of all its posts. Here a row's vector is made of its own items and those of its
    user's training posts that were known before it, and has length 1, so that it tells what the user is about and not
    how much was posted. Training posts are those with a label: what a user posted in the days until it matures does not
    count, nor does it for training rows. (By the transductive clock all posts count, whenever and with or without one.)
    A user who is not among these posts, nor those it was told of, has the row's own items.
    """

    makes_codes: ClassVar[bool] = False
    name: str
    settings: UserTagSettings | UserPlaceSettings
    vocabulary: list[str]
    idf: Matrix  # (items,)
    components: Matrix  # (dimensions, items)
    owners: NDArray[np.int64]  # (events,) whose post; sorted by owner and moment
    known_at: NDArray[np.int64]  # (events,) microseconds
    bounds: NDArray[np.int64]  # (events + 1,) where each post's items begin in `items`
    items: NDArray[np.int32]  # places in the vocabulary
    salt: Salt  # of the owners

    @property
    def names(self) -> list[str]:
        """user_tags_1, user_tags_2, ... and, of the row's own items, user_tags_own_1, ..."""
        own = numbered(f"{self.name}_own", len(self.components)) if self.settings.own else []
        return [*numbered(self.name, len(self.components)), *own]

    @classmethod
    def fit(
        cls, training: Training, name: str, settings: UserTagSettings | UserPlaceSettings
    ) -> tuple[Self, Matrix] | None:
        """Components of the users' items; None if too few items recur or too few users have any."""
        rows = training.everything.select("user_id", "known_at", items=settings.items(training.everything))
        rows = rows.filter(pl.col("items").list.len() > 0)
        pairs = rows.select("user_id", item="items").explode("item").unique()
        vocabulary = recurring(pairs["item"], settings.min_users, settings.max_items)
        salt = salt_of(rows["user_id"], training.seed)
        users = owners(rows["user_id"], salt)
        if len(vocabulary) < 3 or rows["user_id"].n_unique() < 3:
            return None
        counts = counts_of(rows["items"], vocabulary)
        by_user = _by_user(counts, users)
        idf = inverse_frequency(by_user.getnnz(axis=0), by_user.shape[0])
        found = components(weighted(by_user, idf), settings.dimensions, training.seed)
        moments = microseconds(rows["known_at"])
        moments = moments if training.context is None else np.full_like(moments, ALWAYS)
        reduction = cls(name, settings, vocabulary, idf, found, *_events(counts, users, moments), salt)
        return reduction, reduction.transform(training.rows)

    def told(self, rows: pl.DataFrame) -> Self:
        """The same, with the items of these posts among those of their users; by the transductive clock all are."""
        if (self.known_at == ALWAYS).any():
            return self
        from scipy.sparse import vstack

        counts = vstack([self._posts(), counts_of(self.settings.items(rows), self.vocabulary)], format="csr")
        users = np.concatenate([self.owners, owners(rows["user_id"], self.salt)])
        moments = np.concatenate([self.known_at, microseconds(rows["known_at"])])
        of, known_at, bounds, items = _events(counts, users, moments)
        return replace(self, owners=of, known_at=known_at, bounds=bounds, items=items)

    def transform(self, rows: pl.DataFrame) -> Matrix:
        """(rows, len(names)) of length 1; NaN where no item is known at that moment."""
        own = self._coordinates(counts_of(self.settings.items(rows), self.vocabulary))
        user = _unit(own + self._earlier(owners(rows["user_id"], self.salt), microseconds(rows["posted_at"])))
        return np.column_stack([user, _unit(own)]) if self.settings.own else user

    def facts(self) -> Json:
        """Kind, settings and vocabulary."""
        return {"kind": self.settings.kind, "settings": self.settings.model_dump(), "vocabulary": self.vocabulary}

    def arrays(self) -> dict[str, NDArray[Any]]:
        """idf, components, the events (owners, known_at, bounds, items), and the owners' salt."""
        names = ("idf", "components", "owners", "known_at", "bounds", "items", "salt")
        return {name: getattr(self, name) for name in names}

    @classmethod
    def restore(cls, name: str, facts: Json, arrays: Arrays) -> Self:
        """The same reduction from its facts and arrays."""
        made = cls(name, SETTINGS[facts["kind"]].model_validate(facts["settings"]), facts["vocabulary"], **arrays)
        made._posts().check_format(full_check=True)  # places beyond the arrays would end the process
        return made

    def _coordinates(self, counts: Any) -> Matrix:
        """(n, dimensions) of sparse counts (n, items)."""
        return np.asarray(counts.multiply(self.idf).tocsr() @ self.components.T, np.float32)

    def _earlier(self, wanted: NDArray[np.int64], moments: NDArray[np.int64]) -> Matrix:
        """(rows, dimensions): the sum over the posts of each row's user that were known strictly before it."""
        kept = np.flatnonzero(np.isin(self.owners, wanted))
        events = self._posts()[kept]
        first = np.searchsorted(self.owners[kept], wanted, side="left")
        end = first + _known_before(self.owners[kept], self.known_at[kept], wanted, moments)
        sums = np.zeros((len(wanted), len(self.components)), np.float32)
        for start in range(0, len(self.components), BLOCK):
            part = self.components[start : start + BLOCK].T
            running = np.zeros((len(kept) + 1, part.shape[1]))
            np.cumsum(events.multiply(self.idf).tocsr() @ part, axis=0, dtype=np.float64, out=running[1:])
            sums[:, start : start + BLOCK] = running[end] - running[first]
        return sums

    def _posts(self) -> Any:
        """The events' items as a sparse matrix (events, items)."""
        from scipy.sparse import csr_matrix

        ones = np.ones(len(self.items), np.float32)
        return csr_matrix((ones, self.items, self.bounds), (len(self.owners), len(self.vocabulary)))


def _by_user(counts: Any, users: NDArray[np.int64]) -> Any:
    """A sparse matrix (users, items) of how many posts of each user have the item."""
    from scipy.sparse import csr_matrix

    distinct, user = np.unique(users, return_inverse=True)
    shape = len(distinct), len(users)
    return csr_matrix((np.ones(len(user), np.float32), (user, np.arange(len(user)))), shape) @ counts


def _events(
    counts: Any, users: NDArray[np.int64], moments: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64], NDArray[np.int32]]:
    """Owners, moments, bounds and items of the posts, sorted by owner and moment."""
    order = np.lexsort((moments, users))
    rows = counts[order]
    return users[order], moments[order], rows.indptr.astype(np.int64), rows.indices.astype(np.int32)


def _known_before(
    owner: NDArray[np.int64], known_at: NDArray[np.int64], wanted: NDArray[np.int64], moments: NDArray[np.int64]
) -> NDArray[np.int64]:
    """How many events of the wanted owner were known strictly before the moment; events sorted by owner and moment."""
    types = {"owner": pl.Int64, "moment": pl.Int64}
    events = pl.DataFrame({"owner": owner, "moment": known_at}, schema=types)
    events = events.with_columns(count=pl.int_range(1, pl.len() + 1).over("owner"))
    asked = pl.DataFrame({"owner": wanted, "moment": moments}, schema=types).with_row_index("row").sort("moment", "row")
    found = asked.join_asof(
        events.sort("moment", "owner", "count"),
        on="moment",
        by="owner",
        allow_exact_matches=False,
        check_sortedness=False,
    )
    return found.sort("row")["count"].fill_null(0).to_numpy().astype(np.int64)


def _unit(vectors: Matrix) -> Matrix:
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    there = lengths > SHORTEST
    return np.where(there, vectors / np.where(there, lengths, 1), np.nan).astype(np.float32)
