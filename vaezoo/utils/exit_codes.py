"""Exit codes of the command line that belong to no error; the others are those of the errors."""

EXIT_OK = 0
EXIT_INTERRUPTED = 130
