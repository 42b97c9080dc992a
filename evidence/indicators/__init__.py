"""The ten red, yellow and green indicators of a project, and the early warning about its acceptance."""
