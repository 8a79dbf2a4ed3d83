"""Secrets and addresses: read from the environment when asked for, never stored, never shown."""

from pydantic import Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from flickcast.errors import UserError

PREFIX = "FLICKCAST_"


class Settings(BaseSettings):
    """Environment variables that begin with FLICKCAST_."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, frozen=True)

    flickr_url: str = Field("https://api.flickr.com/services/rest/", description="the API's address")
    flickr_key: SecretStr | None = Field(None, description="the API key; needed for `ingest.source: flickr`")
    timeout_seconds: float = Field(30.0, gt=0, description="of one answer")
    deadline_seconds: float = Field(600.0, gt=0, description="a service that fails for longer ends the night (exit 75)")


def load_settings() -> Settings:
    """The settings of this moment. UserError names the variable that is wrong, and its value unless it is a secret."""
    try:
        return Settings()
    except ValidationError as error:
        first = error.errors()[0]
        name = str(first["loc"][0])
        value = "" if "key" in name else f" is '{first['input']}'"
        raise UserError(f"{PREFIX}{name.upper()}{value}: {first['msg'][0].lower()}{first['msg'][1:]}.") from None
