"""The one error that is meant for the person at the keyboard."""


class SiteCNNError(Exception):
    """Bad input or usage: its text is one line that names the file, the place in it and the mend.

    The command line prints it on stderr and exits with 2; nothing else is caught there, so any other
    exception is a defect of SiteCNN and keeps its traceback.
    """

    def __init__(self, message: str) -> None:
        super().__init__(" ".join(message.split()))
