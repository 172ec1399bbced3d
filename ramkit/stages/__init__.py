"""The stages, one verb a file. They never import one another; they meet through artefacts."""
