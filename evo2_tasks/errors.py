"""The error for a user's mistake: one line with what, where, what was expected, what to do."""


class InputError(Exception):
    """A file, a config key or an argument that the user gave cannot be used.

    The message is one line. The command prints it without a traceback and exits with 2.
    """
