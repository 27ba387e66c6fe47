"""Why a model file could not be made, and the exit code that says whose turn it is to act."""

from network.errors import PlanetServeError


class ModelError(PlanetServeError):
    """A model file could not be made. `exit_code`: 1 failed, 3 this machine lacks something, 4 the network."""

    exit_code = 1


class PreflightError(ModelError):
    """This machine lacks something: disk space, a right, pip."""

    exit_code = 3


class DownloadError(ModelError):
    """The package index could not be reached, or sent something else."""

    exit_code = 4
