"""Secrets and addresses: read from the environment when asked for, never stored, never shown."""

import os
import sys
from pathlib import Path

from pydantic import Field, SecretStr, ValidationError, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from flickcast.errors import UserError, is_text

PREFIX = "FLICKCAST_"


class Settings(BaseSettings):
    """Environment variables that begin with FLICKCAST_."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, frozen=True)

    flickr_url: str = Field("https://api.flickr.com/services/rest/", description="the API's address")
    flickr_key: SecretStr | None = Field(None, description="the API key; needed for `ingest.source: flickr`")
    timeout_seconds: float = Field(30.0, gt=0, description="of one answer, without a byte of it coming")
    call_seconds: float = Field(60.0, gt=0, description="of one call in all, from the look-up of the name to its end")
    deadline_seconds: float = Field(600.0, gt=0, description="a service that fails for longer ends the night (exit 75)")
    clock_speed: float = Field(1.0, ge=1, le=1e6, description="rehearsals on the simulated service: waits pass faster")
    state_folder: Path | None = Field(
        None, description="what runs of one key share; $XDG_STATE_HOME/flickcast if unset"
    )

    autogluon_python: Path = Field(
        Path(sys.prefix).parent / ".venv-autogluon" / "bin" / "python",
        description="the Python of AutoGluon's own environment; where `make autogluon` makes it if unset",
    )

    @field_validator("state_folder", mode="before")
    @classmethod
    def _unless_empty(cls, value: object) -> object:
        return value or None  # an empty one would be wherever a run is started: a budget for each such place

    @field_validator("flickr_url", "flickr_key", mode="after")
    @classmethod
    def _text(cls, value: str | SecretStr | None) -> str | SecretStr | None:
        if not is_text(value.get_secret_value() if isinstance(value, SecretStr) else value or ""):
            raise ValueError("is no text in UTF-8")
        return value

    def budget_folder(self) -> Path:
        """Where all runs of this user on this machine keep how many calls they made."""
        state_home = os.environ.get("XDG_STATE_HOME", "")  # the standard says to ignore a relative one
        beside = Path(state_home) if Path(state_home).is_absolute() else Path("~/.local/state")
        try:
            return (self.state_folder or beside / "flickcast").expanduser()
        except RuntimeError:  # a container's user may have no home
            raise UserError(
                f"{self.state_folder or beside} has no home folder to begin with. "
                "Name a folder in FLICKCAST_STATE_FOLDER, the same one for all runs with this key."
            ) from None


def load_settings() -> Settings:
    """The settings of this moment. UserError names the variable that is wrong, and its value unless it is a secret."""
    try:
        return Settings()
    except ValidationError as error:
        first = error.errors()[0]
        name = str(first["loc"][0])
        if first["type"] == "value_error":
            raise UserError(f"{PREFIX}{name.upper()} {first['ctx']['error']}.") from None
        value = "" if "key" in name else f" is '{first['input']}'"
        raise UserError(f"{PREFIX}{name.upper()}{value}: {first['msg'][0].lower()}{first['msg'][1:]}.") from None
