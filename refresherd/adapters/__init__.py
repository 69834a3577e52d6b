"""The daemon's neighbours, one folder each; none of them knows another."""
