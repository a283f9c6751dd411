"""The subcommands of `cnn`, one module each: HELP, add_arguments(parser), run(args) -> exit code or None.

These modules import what they need inside run(), so that `cnn --help` answers at once. cli.py finds and runs them;
what they share is in shared/.
"""
