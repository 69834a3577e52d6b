"""Where an app's credential comes from: implements CredentialSource."""

from refresherd.adapters.credentials.sources import source

__all__ = ["source"]
