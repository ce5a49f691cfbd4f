"""The subcommands, one a module: an options dataclass for tyro and ``run(arguments) -> exit code``."""
