"""The errors that a user can cause, each one line: what, where, what was expected, what to do."""


class InputError(Exception):
    """What a user gave cannot be used: a file, a config key, an argument.

    The message is one line. The command prints it without a traceback and exits with 2.
    """
