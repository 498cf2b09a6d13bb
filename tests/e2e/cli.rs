//! What an operator types, reads and changes: the command line, the log, the configuration file.
