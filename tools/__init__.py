"""What `make` calls: run from the repository's root as `python -m tools.NAME`. Not part of the package."""
