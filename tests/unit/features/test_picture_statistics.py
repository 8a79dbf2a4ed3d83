"""What was measured on pictures comes from the encoders' tables into the matrix, and back out with them."""

from pathlib import Path

from embeddable import filled

from flickcast import stages
from flickcast.workspace import Workspace, set_params


def described(root: Path) -> Workspace:
    """The workspace once embed and features have run."""
    ws = Workspace(root)
    for stage in (stages.embed, stages.features):
        stage(ws)
    return ws


def test_numbers_of_pictures_are_there_as_soon_as_their_encoder_is_named(tmp_path: Path) -> None:
    root = filled(tmp_path / "workspace", nights=1)
    without = described(root).read("features")
    assert without["picture_width"].null_count() == without.height == 5
    set_params(root / "params.yaml", {"embed.others": "[statistics-picture]"})
    matrix = described(root).read("features")
    assert matrix.select("picture_width", "picture_height", "picture_mode").unique().rows() == [(24, 20, "2")]
    assert matrix["picture_brightness"].is_between(1, 254).all()
    assert matrix["aesthetic_mean"].null_count() == 5
