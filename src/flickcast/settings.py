"""Secrets and addresses: read from the environment when asked for, never stored, never shown."""

from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict


class Settings(BaseSettings):
    """Environment variables that begin with FLICKCAST_."""

    model_config = SettingsConfigDict(env_prefix="FLICKCAST_", frozen=True)

    flickr_url: str = Field("https://api.flickr.com/services/rest/", description="the API's address")
    flickr_key: SecretStr | None = Field(None, description="the API key; needed for `ingest.source: flickr`")
    timeout_seconds: float = Field(30.0, gt=0, description="of one answer")
    deadline_seconds: float = Field(600.0, gt=0, description="a service that fails for longer ends the night (exit 75)")


def load_settings() -> Settings:
    """The settings of this moment."""
    return Settings()
