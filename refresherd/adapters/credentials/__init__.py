"""Where an app's credential comes from."""
