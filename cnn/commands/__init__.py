"""The subcommands of `cnn`, one module each: HELP, add_arguments(parser), run(args) -> exit code or None.

Modules import what they need inside run(), so that `cnn --help` answers at once.
"""
